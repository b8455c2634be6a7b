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

    Scores, predictions, curves and records always stay, and so do the adapters of the best five trials. The
    best only get better, so an adapter that is deleted would never have come back among them.
    """

    def __init__(self, study: StudySpec, folder: StudyFolder, ledger: TrialLedger) -> None:
        self._study, self._folder, self._ledger = study, folder, ledger
        gibibytes = study.resources.disk_gib
        self._limit_bytes = None if gibibytes is None else int(gibibytes * 2**30)
        self._told = False
        ledger.delete_removed_adapters()

    def enforce(self) -> list[str]:
        """Delete adapters until the rest fits, and return a line on each, and one if it cannot fit."""
        if self._limit_bytes is None:
            return []
        ranked = order(list(self._ledger.records.values()), self._study.metric_direction)
        held = self._held(ranked)
        lines: list[str] = []
        for rank, record in reversed(list(enumerate(ranked, start=1))):
            if held <= self._limit_bytes:
                return lines
            if rank > _NEVER_DELETED and _kept(record):
                held -= _bytes(record)
                lines.append(self._delete(record, f"rank {rank} of {len(ranked)}"))
        return lines if held <= self._limit_bytes else [*lines, *self._over(held)]

    def _delete(self, record: TrialRecord, rank: str) -> str:
        reason = (
            f"adapters and checkpoints exceeded resources.disk_gib ({self._study.resources.disk_gib:g}), "
            f"it was {rank}"
        )
        self._ledger.remove_adapter(record.key, reason)
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

    def _held(self, ranked: list[TrialRecord]) -> int:
        """Return the bytes of all adapters and checkpoints."""
        running = [key for key, record in self._ledger.records.items() if not record.state.finished]
        paths = [path for key in running for _, path in self._folder.checkpoints(key)]
        return sum(_bytes(record) for record in ranked) + sum(path.stat().st_size for path in paths)


def _kept(record: TrialRecord) -> bool:
    return record.adapter is not None and record.adapter.removed is None


def _bytes(record: TrialRecord) -> int:
    return record.adapter.size_bytes if record.adapter is not None and _kept(record) else 0
