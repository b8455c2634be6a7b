"""The arrangement of a worker: of those that fit its memory the fastest, or nearly as fast with few slots."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from itertools import product

from loratory.objectives.packing.decoding.rows import GRANULE
from loratory.objectives.packing.shapes import SMALLEST_BUCKET, bucket, bucket_within
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import ModelFacts, Workload
from loratory.objectives.qlora.memory.predict import CONTEXT_BYTES, cache_pages, predict
from loratory.objectives.qlora.memory.terms import MemoryTerms

# More than 8,192 tokens per pass hardly help: on one H200 they reach over 80% of the pace of 32,768.
_SATURATING_TOKENS, _MOST_TOKENS = 8192, 32_768
_MOST_SLOTS = 16
_NEARLY_FULL_SPEED, _MOST_OF_THE_SPEED = 0.95, 0.8
_SLOTS = (1, 2, 3, 4, 6, 8, 12, 16)
_ROWS = (1, 2, 4, 8, 16, 32, 48, 64, 96, 128, 192, 256, 384, 512)

Pace = Callable[[EngineSize], float]
"""The predicted time of a study's work in an arrangement, in any unit."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """Settings that the study file fixes, and ways that the base allows; None leaves a choice open.

    Attributes:
        slots: trials that train at once.
        tokens_per_pass: largest pass.
        hold_base: whether the dequantised base stays in memory.
        checkpointing: whether activations are recomputed.
        optimizer_bits: 32 or 8; open means 32, since 8 bits change results.
        offload: whether moments lie in main memory.
        packs: whether sequences of several trials can be in one row.
        graphs: whether passes can be captured.
        decodes: whether answers are decoded.
        apart_rows: prompts that transformers' `generate` is to answer at once; None where our cache serves.
    """

    slots: int | None = None
    tokens_per_pass: int | None = None
    hold_base: bool | None = None
    checkpointing: bool | None = None
    optimizer_bits: int | None = None
    offload: bool | None = None
    packs: bool = True
    graphs: bool = True
    decodes: bool = True
    apart_rows: int | None = None


@dataclass(frozen=True, kw_only=True)
class TooSmall:
    """No arrangement fits.

    Attributes:
        size: the smallest arrangement that is allowed.
        terms: its memory.
        budget_bytes: the memory that there is.
        most_slots: the most slots that would fit; 0 if none.
    """

    size: EngineSize
    terms: MemoryTerms
    budget_bytes: int
    most_slots: int


def choose(
    facts: ModelFacts,
    workload: Workload,
    asked: Asked,
    *,
    budget_bytes: int,
    pace: Pace,
    context_bytes: int = CONTEXT_BYTES,
) -> EngineSize | TooSmall:
    """Choose the arrangement within a budget by its predicted time, with few slots (`fewest_slots`).

    Args:
        facts: of the base.
        workload: of the study.
        asked: what is fixed.
        budget_bytes: memory that may be used, with that of the process and the base.
        pace: predicted time in an arrangement.
        context_bytes: memory of the process beside its tensors.
    """

    def fits(size: EngineSize) -> bool:
        return predict(facts, workload, size, context_bytes=context_bytes).total <= budget_bytes

    best: dict[int, tuple[float, EngineSize]] = {}
    for size in _candidates(facts, workload, asked):
        largest = _with_largest_pass(size, workload, asked, fits)
        if largest is None:
            continue
        seconds = pace(largest)
        # Only what gains a percent replaces an earlier candidate: those come first that change least.
        if size.slots not in best or seconds < 0.99 * best[size.slots][0]:
            best[size.slots] = seconds, largest
    if best:
        seconds_by_slots = {slots: seconds for slots, (seconds, _) in best.items()}
        return best[fewest_slots(seconds_by_slots, sampler_slots=workload.sampler_slots)][1]
    size = smallest(facts, workload, asked)
    terms = predict(facts, workload, size, context_bytes=context_bytes)
    slots = most_slots(facts, workload, asked, budget_bytes=budget_bytes, context_bytes=context_bytes)
    return TooSmall(size=size, terms=terms, budget_bytes=budget_bytes, most_slots=slots)


def fewest_slots(seconds: Mapping[int, float], *, sampler_slots: int | None) -> int:
    """Return the number of slots: few, since a sampler learns from trials that have ended.

    The fewest with nearly full speed; or, where those are too many for the sampler, as many as suit it if
    they keep most of the speed, else the fewest that do.

    Args:
        seconds: predicted time of the study by number of slots.
        sampler_slots: most slots per worker that suit the sampler; None: any number does.
    """
    fastest = min(seconds.values())

    def keeping(share: float) -> list[int]:
        return sorted(slots for slots, taken in seconds.items() if share * taken <= fastest)

    fewest = keeping(_NEARLY_FULL_SPEED)[0]
    if sampler_slots is None or fewest <= sampler_slots:
        return fewest
    most = keeping(_MOST_OF_THE_SPEED)
    return max((slots for slots in most if slots <= sampler_slots), default=most[0])


def smallest(facts: ModelFacts, workload: Workload, asked: Asked) -> EngineSize:
    """Return the arrangement with the least memory that what is asked for allows: a trial alone."""
    return EngineSize(
        slots=min(_slots(workload, asked)),
        tokens_per_pass=asked.tokens_per_pass or _least_tokens(workload),
        decoding_rows=1 if asked.decodes else 0,
        hold_base=bool(asked.hold_base) and facts.held_bytes > 0,
        checkpointing=True if asked.checkpointing is None else asked.checkpointing,
        optimizer_bits=asked.optimizer_bits or 32,
        offload=True if asked.offload is None else asked.offload,
        graphs=False,
    )


def most_slots(
    facts: ModelFacts,
    workload: Workload,
    asked: Asked,
    *,
    budget_bytes: int,
    context_bytes: int = CONTEXT_BYTES,
) -> int:
    """Return the most slots, of those that are asked for, that fit in the smallest arrangement; 0 if none."""

    def fits(slots: int) -> bool:
        size = replace(smallest(facts, workload, asked), slots=slots)
        return predict(facts, workload, size, context_bytes=context_bytes).total <= budget_bytes

    return next((slots for slots in range(max(_slots(workload, asked)), 0, -1) if fits(slots)), 0)


def wanted_slots(workload: Workload) -> int:
    """Return the number of slots that keeps a GPU busy: their batches have `_SATURATING_TOKENS` in sum."""
    per_slot = workload.smallest_batch * workload.mean_tokens
    return max(1, min(_MOST_SLOTS, workload.trials, math.ceil(_SATURATING_TOKENS / per_slot)))


def _candidates(facts: ModelFacts, workload: Workload, asked: Asked) -> Iterator[EngineSize]:
    """Yield arrangements with the smallest pass, those first that are the plainest."""
    choices = product(
        _either(asked.offload, first=False),
        _either(asked.checkpointing, first=False),
        (True, False) if asked.graphs else (False,),
        _either(asked.hold_base, first=True) if facts.held_bytes else (False,),
        _slots(workload, asked),
        _rows(asked),
    )
    for offload, checkpointing, graphs, hold_base, slots, rows in choices:
        decoded = min(rows, _rows_needed(workload, slots)) if rows else 0
        yield EngineSize(
            slots=slots,
            tokens_per_pass=asked.tokens_per_pass or _least_tokens(workload),
            decoding_rows=decoded,
            cache_pages=cache_pages(workload, decoded) if asked.apart_rows is None else None,
            hold_base=hold_base,
            checkpointing=checkpointing,
            optimizer_bits=asked.optimizer_bits or 32,
            offload=offload,
            graphs=graphs,
        )


def _either(fixed: bool | None, *, first: bool) -> tuple[bool, ...]:
    return (first, not first) if fixed is None else (fixed,)


def _slots(workload: Workload, asked: Asked) -> list[int]:
    if not asked.packs:
        return [1]
    if asked.slots is not None:
        return [min(asked.slots, workload.trials)]
    wanted = wanted_slots(workload)
    return sorted({min(slots, wanted) for slots in _SLOTS}, reverse=True)


def _rows(asked: Asked) -> list[int]:
    """Return the prompts decoded at once to choose among, the most first."""
    if not asked.decodes:
        return [0]
    if asked.apart_rows is None:
        return sorted(_ROWS, reverse=True)
    return [asked.apart_rows >> halved for halved in range(asked.apart_rows.bit_length())]


def _rows_needed(workload: Workload, slots: int) -> int:
    """Return the rows beyond which some would stay empty."""
    return max(GRANULE, -(-slots * workload.prompts // GRANULE) * GRANULE)


def _least_tokens(workload: Workload) -> int:
    return bucket(workload.longest_tokens, SMALLEST_BUCKET)


def _with_largest_pass(
    size: EngineSize, workload: Workload, asked: Asked, fits: Callable[[EngineSize], bool]
) -> EngineSize | None:
    """Return an arrangement with the largest pass that fits; None where not even the smallest does."""
    if not fits(size):
        return None
    if asked.tokens_per_pass is not None:
        return size
    passes = _passes(_least_tokens(workload))
    low, high = 0, len(passes) - 1
    while low < high:
        middle = (low + high + 1) // 2
        if fits(_with_tokens(size, passes[middle])):
            low = middle
        else:
            high = middle - 1
    return _with_tokens(size, passes[low])


def _with_tokens(size: EngineSize, tokens: int) -> EngineSize:
    return replace(size, tokens_per_pass=tokens)


@cache
def _passes(least: int) -> list[int]:
    """Return the sizes of a pass to choose among, all of them sizes of a graph."""
    sizes = [least]
    while sizes[-1] < _MOST_TOKENS:
        sizes.append(bucket(sizes[-1] + 1, SMALLEST_BUCKET))
    return [size for size in sizes if size <= max(least, bucket_within(_MOST_TOKENS, SMALLEST_BUCKET))]
