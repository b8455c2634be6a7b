"""Scorings outside trials: the untuned base first, winner and base on the test split last."""

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
    """Each scoring is made once in the life of a study; what has a record is never scored again."""

    def __init__(self, folder: StudyFolder, prepared: Prepared) -> None:
        self._folder = folder
        self._opening = [BASE] if prepared.has_base else []
        self._closing = [TEST_BASE, TEST_WINNER] if prepared.has_test else []
        self._under_way: set[str] = set()
        for keys in (self._opening, self._closing):
            keys[:] = [key for key in keys if folder.read_score(key) is None]

    @property
    def before_trials(self) -> bool:
        """Whether the base's score is still to come; no trial starts before it."""
        return bool(self._opening)

    def opening(self) -> Score | None:
        """The scoring that comes before the first trial, if no worker has it yet."""
        return self._take(self._opening, Split.SELECT, {})

    def closing(self, winner: TrialRecord | None) -> Score | None:
        """The next scoring on test, once it is known who won."""
        if winner is None or winner.adapter is None:
            return None
        return self._take(self._closing, Split.TEST, {TEST_WINNER: winner})

    def pending(self, winner: TrialRecord | None) -> bool:
        """Whether a scoring is still to be made or under way."""
        return self.before_trials or (
            winner is not None and winner.adapter is not None and bool(self._closing)
        )

    def done(self, key: str) -> None:
        """A scoring has its record."""
        for keys in (self._opening, self._closing):
            if key in keys:
                keys.remove(key)
        self._under_way.discard(key)

    def give_back(self, key: str) -> None:
        """The worker that had a scoring is gone."""
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
