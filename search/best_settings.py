"""Which settings of a study are trained again, and what is left of that."""

from collections.abc import Sequence

from loratory.objectives.records import TrialRecord
from loratory.reports.ranking import order
from loratory.spaces.confirmation import ConfirmationSpec
from loratory.spaces.metric_names import Direction
from loratory.spaces.trial import retraining_key


def best_settings(
    trials: Sequence[TrialRecord], direction: Direction, confirmation: ConfirmationSpec
) -> list[int]:
    """Return the numbers of the trials whose settings are trained again, the best first.

    Fewer than `confirmation.top` where fewer trials have a score.
    """
    return [record.row for record in order(trials, direction)[: confirmation.top]]


def retraining_keys(numbers: Sequence[int], confirmation: ConfirmationSpec) -> list[str]:
    """Return the keys of all trainings: the first seed of every setting, then the second, and so on."""
    indices = range(1, confirmation.seeds + 1)
    return [retraining_key(number, index) for index in indices for number in numbers]


def retrainings_left(
    trials: Sequence[TrialRecord],
    retrained: Sequence[TrialRecord],
    *,
    direction: Direction,
    confirmation: ConfirmationSpec,
) -> list[str]:
    """Return the keys of what has no end yet: first what has begun, then what has no record.

    Args:
        trials: records of the search, which is over.
        retrained: records of trainings on new seeds.
        direction: which values are better.
        confirmation: how many settings are trained again, and how often.
    """
    begun = [record.key for record in retrained if not record.state.finished]
    known = {record.key for record in retrained}
    wanted = retraining_keys(best_settings(trials, direction, confirmation), confirmation)
    return [*begun, *(key for key in wanted if key not in known)]
