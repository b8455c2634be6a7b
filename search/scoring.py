"""Scorings outside trials: first the untuned base, last the winner and the base on the test split."""

from loratory.objectives.events import AdapterFiles, Score, Split
from loratory.objectives.objective import Prepared
from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    BASE,
    TEST_BASE,
    TEST_WINNER,
    StudyFolder,
)


class ScoringQueue:
    """Queue of scorings; each is made once per study, and never again once it has a record."""

    def __init__(self, folder: StudyFolder, prepared: Prepared) -> None:
        self._folder = folder
        self._opening = [BASE] if prepared.has_base else []
        self._closing = [TEST_BASE, TEST_WINNER] if prepared.has_test else []
        self._under_way: set[str] = set()
        for keys in (self._opening, self._closing):
            keys[:] = [key for key in keys if folder.read_score(key) is None]

    @property
    def before_trials(self) -> bool:
        """True until the base is scored; no trial starts before."""
        return bool(self._opening)

    def opening(self) -> Score | None:
        """Return the scoring that precedes the first trial, unless a worker already has it."""
        return self._take(self._opening, Split.SELECT, {})

    def closing(self, winner: TrialRecord | None) -> Score | None:
        """Return the next scoring on test; None while there is no winner."""
        if winner is None or winner.adapter is None:
            return None
        return self._take(self._closing, Split.TEST, {TEST_WINNER: winner})

    def pending(self, winner: TrialRecord | None) -> bool:
        """Return whether a scoring is queued or under way."""
        return self.before_trials or (
            winner is not None and winner.adapter is not None and bool(self._closing)
        )

    def done(self, key: str) -> None:
        """Remove a scoring that has its record."""
        for keys in (self._opening, self._closing):
            if key in keys:
                keys.remove(key)
        self._under_way.discard(key)

    def give_back(self, key: str) -> None:
        """Queue a scoring again after its worker was lost."""
        self._under_way.discard(key)

    def _take(self, keys: list[str], split: Split, winners: dict[str, TrialRecord]) -> Score | None:
        for key in keys:
            if key not in self._under_way:
                self._under_way.add(key)
                return Score(key=key, split=split, adapter=self._adapter(winners.get(key)))
        return None

    def _adapter(self, winner: TrialRecord | None) -> AdapterFiles | None:
        if winner is None:
            return None
        folder = self._folder.adapter(winner.key)
        return {name: (folder / name).read_bytes() for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG)}
