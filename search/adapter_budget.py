"""The study's budget for adapters and checkpoints: the worst adapters are deleted first."""

from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.formatting import size
from loratory.reports.ranking import order
from loratory.search.ledger import TrialLedger
from loratory.spaces.study import StudySpec

_NEVER_DELETED = 5


class AdapterBudget:
    """Keeps adapters and checkpoints below `resources.disk_gib`, where it is set.

    Scores, predictions, curves and records always stay, and so do the adapters of the best five of each
    ledger. The best only get better, so an adapter that is deleted would never have come back among them.

    Args:
        study: the study, with its limit.
        folder: its folder.
        ledgers: trials of the search, and what was trained again: each is ranked alone.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, *ledgers: TrialLedger) -> None:
        self._study, self._folder, self._ledgers = study, folder, ledgers
        gibibytes = study.resources.disk_gib
        self._limit_bytes = None if gibibytes is None else int(gibibytes * 2**30)
        self._told = False
        for ledger in ledgers:
            ledger.delete_removed_adapters()

    def enforce(self) -> list[str]:
        """Delete adapters until the rest fits, and return a line on each, and one if it cannot fit."""
        if self._limit_bytes is None:
            return []
        held = self._held()
        lines: list[str] = []
        for ledger, record, rank in self._worst_first():
            if held <= self._limit_bytes:
                return lines
            held -= _bytes(record)
            lines.append(self._delete(ledger, record, rank))
        return lines if held <= self._limit_bytes else [*lines, *self._over(held)]

    def _worst_first(self) -> list[tuple[TrialLedger, TrialRecord, str]]:
        """Return what may be deleted, with its ledger and its rank there in words."""
        found: dict[str, tuple[TrialLedger, TrialRecord, str]] = {}
        for ledger in self._ledgers:
            ranked = order(list(ledger.records.values()), self._study.metric_direction)
            for rank, record in enumerate(ranked, start=1):
                if rank > _NEVER_DELETED and _kept(record):
                    found[record.key] = ledger, record, f"rank {rank} of {len(ranked)}"
        best_first = order([record for _, record, _ in found.values()], self._study.metric_direction)
        return [found[record.key] for record in reversed(best_first)]

    def _delete(self, ledger: TrialLedger, record: TrialRecord, rank: str) -> str:
        reason = (
            f"adapters and checkpoints exceeded resources.disk_gib ({self._study.resources.disk_gib:g}), "
            f"it was {rank}{' retrained' if record.retrained else ''}"
        )
        ledger.remove_adapter(record.key, reason)
        return f"trial {record.shown}: adapter of {size(_bytes(record))} deleted: {reason}"

    def _over(self, held: int) -> list[str]:
        """Say, once, that nothing else may be deleted."""
        if self._told:
            return []
        self._told = True
        return [
            f"note: checkpoints and the adapters of the best {_NEVER_DELETED} trials take {size(held)}, more "
            f"than resources.disk_gib ({self._study.resources.disk_gib:g}); they are kept"
        ]

    def _held(self) -> int:
        """Return the bytes of all adapters and checkpoints."""
        records = [record for ledger in self._ledgers for record in ledger.records.values()]
        running = [record.key for record in records if not record.state.finished]
        paths = [path for key in running for _, path in self._folder.checkpoints(key)]
        adapters = sum(_bytes(record) for record in records if record.state.finished)
        return adapters + sum(path.stat().st_size for path in paths)


def _kept(record: TrialRecord) -> bool:
    return record.adapter is not None and record.adapter.removed is None


def _bytes(record: TrialRecord) -> int:
    return record.adapter.size_bytes if record.adapter is not None and _kept(record) else 0
