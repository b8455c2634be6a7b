"""Work of a study besides the trials of its search: scorings of single models, and trainings on new seeds."""

from dataclasses import dataclass

from loratory.spaces.study import StudySpec

CONFIRMED = 5
"""Most trials that are scored on eval.confirm at the end, as reports/statistics/candidates.py has it."""


@dataclass(frozen=True, kw_only=True)
class PlannedAfterwards:
    """Work besides the trials of the search.

    Attributes:
        scored: examples of each scoring of a single model: the base on select; the base and the best trials
            on confirm; winner and base on test.
        confirmed: trials that are scored on confirm at the end; 0 without that part.
        settings: settings that are trained again, as `confirmation` asks for.
        seeds: new seeds of each.
    """

    scored: tuple[int, ...]
    confirmed: int
    settings: int
    seeds: int

    @property
    def scored_examples(self) -> int:
        """Examples of all these scorings together."""
        return sum(self.scored)

    @property
    def retrainings(self) -> int:
        """Number of trainings on new seeds."""
        return self.settings * self.seeds


def afterwards(study: StudySpec, *, select: int, confirm: int, test: int) -> PlannedAfterwards:
    """Return the work that a study has besides its trials.

    Args:
        study: the study.
        select: examples of eval.select.
        confirm: those of eval.confirm; 0 without that part.
        test: those of test; 0 without a test split.
    """
    again = study.confirmation
    settings = min(again.top, study.trials) if again else 0
    seeds = again.seeds if again else 0
    confirmed = min(CONFIRMED, study.trials + settings * seeds) if confirm else 0
    return PlannedAfterwards(
        scored=(
            select,
            *([confirm] * (confirmed + 1) if confirmed else []),
            *([test] * 2 if test else []),
        ),
        confirmed=confirmed,
        settings=settings,
        seeds=seeds,
    )
