"""Notes on settings of a study file that are legal but seldom intended."""

from loratory.spaces.pruners import PrunerName
from loratory.spaces.samplers import SamplerName
from loratory.spaces.study import StudySpec

_FEWEST_FOR_HYPERBAND = 50


def advice(study: StudySpec) -> list[str]:
    """Return lines for the terminal before a study starts; most studies get none."""
    lines = []
    if study.pruner.name is PrunerName.HYPERBAND and study.trials < _FEWEST_FOR_HYPERBAND:
        lines.append(
            f"note: hyperband splits {study.trials} trials over several brackets, too few for each; "
            f"under {_FEWEST_FOR_HYPERBAND} trials median prunes better"
        )
    if study.sampler.name is SamplerName.GP and study.pruner.name is not PrunerName.NONE:
        lines.append(
            "warning: sampler gp does not learn from pruned trials: each costs its training and teaches gp "
            "nothing (of 50 trials of the toy the median pruner stopped 18 to 42); set pruner: none, or take "
            "sampler tpe, which learns from them"
        )
    if study.sampler.name is SamplerName.CMAES:
        lines.append(
            "note: sampler cmaes draws categorical parameters at random, and ignores infeasible trials"
        )
    return lines


def advice_on_first_trials(study: StudySpec, at_once: int) -> list[str]:
    """Return a line if at least half of the trials start before the sampler has seen a score.

    Args:
        study: the study to run.
        at_once: number of trials that its workers accept together.
    """
    learns = study.sampler.name not in (SamplerName.RANDOM, SamplerName.GRID)
    if not learns or at_once < 2 or study.trials > 2 * at_once:
        return []
    first = f"{at_once} of" if at_once < study.trials else "all"
    return [
        f"note: {first} {study.trials} trials start at once, before sampler {study.sampler.name} has a score "
        "to learn from; fewer packing.slots or more trials let it"
    ]
