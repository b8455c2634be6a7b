"""Scorings outside trials: the untuned base, and last the best trials on confirm and the winner on test."""

from collections.abc import Iterator, Mapping

from loratory.objectives.events import AdapterFiles, Score, Split
from loratory.objectives.objective import Prepared
from loratory.objectives.records import TrialRecord
from loratory.objectives.study_folder import (
    ADAPTER_CONFIG,
    ADAPTER_WEIGHTS,
    BASE,
    CONFIRM_BASE,
    TEST_BASE,
    TEST_WINNER,
    StudyFolder,
    confirm_key,
    later_look_key,
)
from loratory.reports.choice import choose, confirm_candidates, select_tables
from loratory.reports.ranking import order

_Scoring = tuple[str, Split, str | None]
"""Key of a scoring, its split, and the trial whose adapter is scored; None is the base."""
Records = Mapping[str, TrialRecord]


class ScoringQueue:
    """Queue of scorings; each is made once per study, and never again once it has a record.

    Where more trials or trainings on new seeds change the winner after test was scored, the new one is scored
    there too: a further look at test, which reports count.
    """

    def __init__(self, folder: StudyFolder, prepared: Prepared) -> None:
        self._folder, self._prepared, self._manifest = folder, prepared, folder.read_manifest()
        self._done: set[str] = set()
        self._under_way: dict[str, str | None] = {}
        self._has_base = prepared.has_base
        self._finished: frozenset[str] | None = None
        self._ordered: list[TrialRecord] = []
        self._candidates: tuple[str, ...] = ()
        self._winner: str | None = None
        self._base_broke = False
        self._tested: set[str | None] = set()

    def opening(self) -> Score | None:
        """Return the scoring of the base beside the first trials, unless it is done or a worker has it."""
        return self._take((BASE, Split.SELECT, None)) if self._opens else None

    def closing(self, records: Records) -> Score | None:
        """Return the next scoring after the last trial; None where workers have all that can be scored.

        Args:
            records: every trial's record by key.
        """
        return next((score for scoring in self._closing(records) if (score := self._take(scoring))), None)

    def pending(self, records: Records) -> bool:
        """Return whether a scoring is queued or under way."""
        return self._opens or next(self._closing(records), None) is not None

    @property
    def base_comes_first(self) -> bool:
        """True while the base must be scored with no trial beside it, since a worker has broken over both."""
        return self._base_broke and self._opens

    @property
    def _opens(self) -> bool:
        return self._has_base and not self._is_done(BASE)

    def trial_of(self, key: str) -> str | None:
        """Return the key of the trial whose adapter a scoring under way is of; None: it is of the base."""
        return self._under_way.get(key)

    def done(self, key: str) -> None:
        """Remove a scoring that has its record."""
        self._done.add(key)
        self._under_way.pop(key, None)

    def give_back(self, key: str) -> None:
        """Queue a scoring again after its worker was lost."""
        self._base_broke |= key == BASE
        self._under_way.pop(key, None)

    def _closing(self, records: Records) -> Iterator[_Scoring]:
        """Yield the closing scorings without a record; the winner's comes when confirm is scored."""
        self._rank(records)
        best = self._ordered[:1]
        if not best or best[0].adapter is None:
            return
        confirm = [(confirm_key(key), Split.CONFIRM, key) for key in self._candidates]
        of_confirm: list[_Scoring] = [(CONFIRM_BASE, Split.CONFIRM, None), *confirm] if confirm else []
        left = [scoring for scoring in of_confirm if not self._is_done(scoring[0])]
        yield from left
        if self._prepared.has_test and not self._is_done(TEST_BASE):
            yield TEST_BASE, Split.TEST, None
        if self._prepared.has_test and not left:
            winner = self._chosen()
            if (key := self._test_key(winner)) is not None:
                yield key, Split.TEST, winner

    def _test_key(self, winner: str) -> str | None:
        """Return the key of the winner's scoring on test; None where it has been scored."""
        if not self._is_done(TEST_WINNER):
            return TEST_WINNER
        if winner not in self._tested:
            self._tested = {record.trial for record in self._folder.read_looks()}
        return None if winner in self._tested else later_look_key(winner)

    def _rank(self, records: Records) -> None:
        """Rank the trials, and find the candidates, again where trials have finished since."""
        finished = frozenset(key for key, record in records.items() if record.state.finished)
        if finished == self._finished:
            return
        self._finished, self._winner, self._candidates = finished, None, ()
        self._ordered = order(list(records.values()), self._manifest.spec.metric_direction)
        if self._prepared.has_confirm:
            tables = select_tables(self._folder, self._ordered)
            self._candidates = confirm_candidates(self._ordered, tables, self._manifest.spec)

    def _chosen(self) -> str:
        """Return the key of the trial that select and confirm choose."""
        if self._winner is None:
            tables = select_tables(self._folder, self._ordered) if self._candidates else {}
            choice = choose(self._folder, self._ordered, manifest=self._manifest, tables=tables)
            assert choice is not None  # there is a best trial
            self._winner = choice.key
        return self._winner

    def _is_done(self, key: str) -> bool:
        if key not in self._done and self._folder.read_score(key) is not None:
            self._done.add(key)
        return key in self._done

    def _take(self, scoring: _Scoring) -> Score | None:
        key, split, trial = scoring
        if key in self._under_way:
            return None
        self._under_way[key] = trial
        return Score(key=key, split=split, adapter=self._adapter(trial))

    def _adapter(self, trial: str | None) -> AdapterFiles | None:
        if trial is None:
            return None
        folder = self._folder.adapter(trial)
        return {name: (folder / name).read_bytes() for name in (ADAPTER_WEIGHTS, ADAPTER_CONFIG)}
