"""Records of scorings outside trials, of models from several ledgers."""

from collections import ChainMap
from collections.abc import Mapping

from loratory.objectives.events import Scored
from loratory.objectives.records import ScoreRecord, TrialRecord
from loratory.search.ledger import TrialLedger


class ScoringLedger:
    """Stores scorings by the ledger that has the record of the scored adapter.

    Args:
        first: the ledger that also stores scorings of the base.
        others: further ledgers.
    """

    def __init__(self, first: TrialLedger, *others: TrialLedger) -> None:
        self._first, self._others = first, others
        self._records = ChainMap(*(ledger.records for ledger in (first, *others)))

    @property
    def records(self) -> Mapping[str, TrialRecord]:
        """Every record by key."""
        return self._records

    def score(self, event: Scored, trial: str | None) -> ScoreRecord:
        """Store a scoring.

        Args:
            event: the scores.
            trial: key of the trial whose adapter was scored; None: the base.
        """
        if trial is None:
            return self._first.score(event)
        ledger = next((ledger for ledger in self._others if trial in ledger.records), self._first)
        return ledger.score(event, ledger.records[trial])
