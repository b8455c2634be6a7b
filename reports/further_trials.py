"""How likely a further batch of trials changes which file a study publishes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from loratory.objectives.records import TrialRecord, TrialState
from loratory.reports.statistics.further_search import UNLEARNED, chance_of_change
from loratory.spaces.points import count_points
from loratory.spaces.samplers import SamplerName
from loratory.spaces.study import StudySpec

FURTHER_TRIALS = 8
"""Size of a further batch, whose chance to change the published file is told."""
_TRIED = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)


class Search(NamedTuple):
    """Progress of a search.

    Attributes:
        sampler: how points are chosen.
        tried: finished trials so far, those that were stopped or failed among them. What fits no worker and
            what still runs is not counted: further trials are counted in the same way.
        left: points of the search space that no trial has; None where a range is continuous.
        retrained: whether trainings on new seeds are among those of which one is published.
    """

    sampler: SamplerName
    tried: int
    left: int | None = None
    retrained: bool = False


def progress_of(spec: StudySpec, trials: Sequence[TrialRecord], *, retrained: bool) -> Search:
    """Return the progress of a study's search.

    Args:
        spec: the study.
        trials: the records of the search.
        retrained: whether a training on new seeds has a score.
    """
    points = count_points(spec.space.distributions())
    begun = len({repr(sorted(trial.params.items())) for trial in trials})
    return Search(
        sampler=spec.sampler.name,
        tried=sum(trial.state in _TRIED for trial in trials),
        left=None if points is None else max(0, points - begun),
        retrained=retrained,
    )


def further_trials(search: Search) -> dict[str, Any]:
    """Return the fields of `Findings` on a further batch of trials.

    The chance holds for files chosen by select and for those chosen by select and confirm (replays in
    docs/statistics.md). Trainings on new seeds compete with further trials: then it is the most.
    """
    if search.left == 0:
        more = "no further trial is possible"
        if search.sampler is not SamplerName.GRID:
            more = "further trials would train one of them again"
        return {"chance_missing": f"Every point of the search space has been tried: {more}."}
    left = FURTHER_TRIALS if search.left is None else min(FURTHER_TRIALS, search.left)
    chance = chance_of_change(tried=search.tried, further=left, sampler=search.sampler)
    kind = "exact" if search.sampler in UNLEARNED else "about"
    return {
        "further_trials": left,
        "chance_of_change": chance,
        "chance_is": "at most about" if search.retrained else kind,
    }
