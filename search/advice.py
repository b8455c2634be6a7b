"""What a study file says that is legal, and rarely meant."""

from loratory.spaces.pruners import PrunerName
from loratory.spaces.samplers import SamplerName
from loratory.spaces.study import StudySpec

_FEWEST_FOR_HYPERBAND = 50


def advice(study: StudySpec) -> list[str]:
    """Lines for the terminal before a study starts; none for most studies."""
    lines = []
    if study.pruner.name is PrunerName.HYPERBAND and study.trials < _FEWEST_FOR_HYPERBAND:
        lines.append(
            f"note: hyperband splits {study.trials} trials over several brackets, too few for each; "
            f"under {_FEWEST_FOR_HYPERBAND} trials median prunes better"
        )
    if study.sampler.name is SamplerName.GP and study.pruner.name is not PrunerName.NONE:
        lines.append("note: sampler gp does not learn from pruned trials; tpe does")
    if study.sampler.name is SamplerName.CMAES:
        lines.append(
            "note: sampler cmaes draws categorical parameters at random, and ignores infeasible trials"
        )
    return lines


def advice_on_first_trials(study: StudySpec, at_once: int) -> list[str]:
    """A line where half of the trials and more start before the sampler knows anything.

    Args:
        study: what is run.
        at_once: trials that its workers take together.
    """
    learns = study.sampler.name not in (SamplerName.RANDOM, SamplerName.GRID)
    if not learns or at_once < 2 or study.trials > 2 * at_once:
        return []
    first = f"{at_once} of" if at_once < study.trials else "all"
    return [
        f"note: {first} {study.trials} trials start at once, before sampler {study.sampler.name} has a score "
        "to learn from; fewer packing.slots or more trials let it"
    ]
