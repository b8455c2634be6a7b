"""The chance that more trials change which file is published."""

from loratory.spaces.samplers import SamplerName

UNLEARNED = (SamplerName.RANDOM, SamplerName.GRID)
"""Samplers whose trials are exchangeable."""
_LEARNED_RATE = 1.4  # fitted to the replays of benchmarks/statistics_cells/further_search.py


def chance_of_change(*, tried: int, further: int, sampler: SamplerName) -> float:
    """Return the probability that a study publishes another file after some further trials.

    Trials of a sampler that does not learn are exchangeable: whatever rule chooses the file, it is as likely
    to be any of the N + m as any other, and one of the m new ones with probability m / (N + m) (the law of
    records; Rényi, 1962). Trials of a sampler that learns get better, and change the file more often:
    1 - (N / (N + m))^c, with c = 1.4 in replays of TPE with a median pruner.

    Args:
        tried: number N of trials so far, those that were stopped or failed among them.
        further: number m of trials to come.
        sampler: how points are chosen.

    Raises:
        ValueError: a number is negative.
    """
    if min(tried, further) < 0:
        raise ValueError(f"numbers of trials must be >= 0, got {tried} and {further}")
    if not further:
        return 0.0
    rate = 1.0 if sampler in UNLEARNED else _LEARNED_RATE
    return float(1.0 - (tried / (tried + further)) ** rate)


def trials_for_chance(*, tried: int, chance: float, sampler: SamplerName) -> int:
    """Return the fewest further trials that change the published file with at least some probability.

    Args:
        tried: number of trials so far.
        chance: the probability, above 0 and below 1.
        sampler: how points are chosen.
    """
    if not 0 < chance < 1:
        raise ValueError(f"chance must be above 0 and below 1, got {chance}")
    further = 1
    while chance_of_change(tried=tried, further=further, sampler=sampler) < chance:
        further += 1
    return further
