"""Importance of parameters: PED-ANOVA on an in-memory study rebuilt from the records."""

import warnings
from collections.abc import Sequence

import optuna
from optuna.distributions import BaseDistribution
from optuna.trial import FrozenTrial

from loratory.objectives.records import TrialRecord
from loratory.reports.comparison_report import Importance
from loratory.spaces.metric_names import Direction
from loratory.spaces.search_space import SearchSpace

FEWEST_TRIALS = 6
"""With fewer trials there is no importance."""
TOP_TRIALS = 5
"""Number of best trials that the method needs, by Optuna's documentation."""


def parameter_importance(
    records: Sequence[TrialRecord], space: SearchSpace, direction: Direction
) -> Importance:
    """Compute importance by PED-ANOVA (Watanabe, Bansal and Hutter, IJCAI 2023), Optuna 5's default.

    It compares a parameter's distribution among the best trials with that among all. The best are the top
    tenth, as in Optuna, but at least five trials (at most half): a tenth of twelve trials is one trial.

    Args:
        records: ranked trials.
        space: the search space.
        direction: which values are better.
    """
    distributions = space.distributions()
    trials = [trial for record in records if (trial := _rebuilt(record, space, distributions)) is not None]
    count = len(trials)
    if count < FEWEST_TRIALS:
        return Importance(
            trials=count, note=f"too few complete trials: {count}, and {FEWEST_TRIALS} are needed."
        )
    top = max(0.1, min(0.5, TOP_TRIALS / count))
    raw = _evaluate(trials, direction, top)
    total = sum(raw.values())
    if total <= 0:
        return Importance(trials=count, note="the best trials are spread as all trials are: none stands out.")
    shares = dict(sorted(((k, v / total) for k, v in raw.items()), key=lambda item: (-item[1], item[0])))
    rough = " With so few it is rough." if count < 10 * TOP_TRIALS else ""
    note = f"PED-ANOVA over {count} complete trials, the best {top:.0%} against all.{rough}"
    return Importance(shares=shares, trials=count, note=note)


def _evaluate(trials: Sequence[FrozenTrial], direction: Direction, top: float) -> dict[str, float]:
    study = _quiet_study(direction)
    study.add_trials(trials)
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=top)
    with warnings.catch_warnings():
        # Unnormalised shares distinguish "all alike" from "nothing found"; Optuna marks them experimental.
        warnings.simplefilter("ignore")
        shares: dict[str, float] = optuna.importance.get_param_importances(
            study, evaluator=evaluator, normalize=False
        )
    return shares


def _quiet_study(direction: Direction) -> optuna.Study:
    """Create a study in memory without Optuna's log line, which users would take for their study."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        return optuna.create_study(direction=direction.value)
    finally:
        optuna.logging.set_verbosity(verbosity)


def _rebuilt(
    record: TrialRecord, space: SearchSpace, distributions: dict[str, BaseDistribution]
) -> FrozenTrial | None:
    """Convert a record to an Optuna trial; None if a parameter or a choice is not in the space."""
    try:
        known = {name: distributions[name] for name in record.params}
        params = space.encode(record.params)
        return optuna.trial.create_trial(params=params, distributions=known, values=record.values)
    except (KeyError, ValueError):
        return None
