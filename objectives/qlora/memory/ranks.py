"""Ranks of a search space that fit, and the memory of one trial by its rank."""

from collections.abc import Callable, Iterable, Mapping

from loratory.objectives.packing.shapes import round_up
from loratory.objectives.packing.stack import RANK_STEP
from loratory.spaces.parameters import IntParameter
from loratory.spaces.study import StudySpec

_BYTES_PER_NUMBER = 12
"""Master and gradient in fp32, and copies for passes and scoring: a trial in the smallest arrangement, whose
moments lie in main memory."""


def trial_bytes_of_rank(rank: int, *, numbers_per_rank: int) -> int:
    """Return the device memory of a trial's adapter, by which trials are told whether they fit.

    Args:
        rank: of the trial.
        numbers_per_rank: inputs and outputs of all layers that trials of the study may adapt.
    """
    return round_up(rank, RANK_STEP) * numbers_per_rank * _BYTES_PER_NUMBER


def numbers_per_rank(layers: Mapping[str, tuple[int, int]]) -> int:
    """Return the numbers of an adapter per rank, over layers by name to (inputs, outputs)."""
    return sum(inputs + outputs for inputs, outputs in layers.values())


def largest_rank_that_fits(study: StudySpec, fits: Callable[[int], bool]) -> int | None:
    """Return the largest rank of a study's trials that fits; None where not even the smallest does.

    A rank counts as the step of stacks that it takes, except the largest of all.
    """
    *smaller, largest = sorted(_ranks(study))
    if fits(largest):
        return largest
    steps = dict.fromkeys(round_up(rank, RANK_STEP) for rank in reversed(smaller))
    return next((step for step in steps if step < largest and fits(step)), None)


def _ranks(study: StudySpec) -> Iterable[int]:
    searched = study.space.root.get("rank")
    if isinstance(searched, IntParameter):
        return range(searched.low, searched.high + 1, searched.step or 1)
    return map(int, study.extremes_of("rank"))
