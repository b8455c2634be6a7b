"""Bytes that a study's trials leave on the disk."""

from dataclasses import dataclass, replace

_MASTER_BYTES = 4  # adapters are written in fp32, and so are moments
_MOMENTS, _BEST = 2, 1
_BYTES_PER_TOKEN = 4  # of text, in UTF-8: three to five in English
_BYTES_PER_PREDICTION = 250  # keys, id and scores
_BYTES_PER_CURVE = 40_000  # record and curve of a trial
_NEVER_DELETED = 5  # adapters of the best, as search/adapter_budget.py has it


@dataclass(frozen=True, kw_only=True)
class DiskBytes:
    """Bytes by kind.

    Attributes:
        adapters: of finished trials, if none is pruned.
        checkpoints: of the trials that run at once; each goes when its trial ends.
        predictions: decoded answers, scores, curves and records.
    """

    adapters: int
    checkpoints: int
    predictions: int

    @property
    def total(self) -> int:
        """The most that the study folder takes."""
        return self.adapters + self.checkpoints + self.predictions


def disk_bytes(
    *,
    trials: int,
    running: int,
    mean_numbers: float,
    largest_numbers: int,
    select_examples: int,
    max_new_tokens: int,
    retrainings: int = 0,
    scored_examples: int = 0,
) -> DiskBytes:
    """Return the bytes of a study.

    Args:
        trials: number of trials.
        running: trials at work at once, on all workers.
        mean_numbers: numbers of an adapter, on average over the search space.
        largest_numbers: numbers of the largest adapter.
        select_examples: examples whose answers are kept, per trial.
        max_new_tokens: longest answer, in tokens; 0 where nothing is decoded.
        retrainings: trainings on new seeds, which leave what trials leave.
        scored_examples: examples of all scorings outside trials.
    """
    # An answer and its reference, each of half the longest answer on average.
    kept = _BYTES_PER_PREDICTION + max_new_tokens * _BYTES_PER_TOKEN
    trained, at_once = trials + retrainings, min(running, max(trials, retrainings))
    return DiskBytes(
        adapters=round(trained * mean_numbers * _MASTER_BYTES),
        checkpoints=at_once * largest_numbers * _MASTER_BYTES * (1 + _MOMENTS + _BEST),
        predictions=trained * (select_examples * kept + _BYTES_PER_CURVE) + scored_examples * kept,
    )


def within_limit(
    needed: DiskBytes, limit_bytes: int, *, largest_numbers: int, trials: int, retrainings: int
) -> DiskBytes:
    """Return the bytes of a study whose worst adapters are deleted above a limit.

    The adapters of the best stay whatever they take: of the search, and of what is trained again.

    Args:
        needed: bytes without a limit.
        limit_bytes: of adapters and checkpoints together.
        largest_numbers: numbers of the largest adapter.
        trials: number of trials.
        retrainings: trainings on new seeds.
    """
    best = min(_NEVER_DELETED, trials) + min(_NEVER_DELETED, retrainings)
    kept = max(best * largest_numbers * _MASTER_BYTES, limit_bytes - needed.checkpoints)
    return replace(needed, adapters=min(needed.adapters, kept))
