"""The interval of a difference between two shares of right examples."""

import numpy as np
from numpy.typing import NDArray

_HALVINGS = 25  # ends are right to 1e-7


def score_interval(
    won: NDArray[np.float64], lost: NDArray[np.float64], examples: NDArray[np.float64], z: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute Tango's score interval (1998) of differences between paired shares.

    It holds each difference D with |b - c - n D| <= z sqrt(n (2 q + D (1 - D))), where q is the likeliest
    share of lost examples, given D: (sqrt(B^2 - 8 n C) - B) / 4n with B = (2n - b + c) D - b - c and C = -c D
    (1 - D). With D = 0 it is McNemar's test (1947). Unlike an interval from the spread of the sample it has a
    width where few examples or none differ, or all that do for the same model.

    Args:
        won: number b of examples that only the first model has right, [N].
        lost: number c of those that only the second has right, [N].
        examples: number n of examples, [N]. No number needs to be whole.
        z: quantile of the interval.

    Returns:
        Lower and upper ends, [N], between -1 and 1.
    """
    return lower_end(won, lost, examples, z), -lower_end(lost, won, examples, z)


def lower_end(
    won: NDArray[np.float64], lost: NDArray[np.float64], examples: NDArray[np.float64], z: float
) -> NDArray[np.float64]:
    """Return the lower ends of `score_interval`, [N]; the upper ones are those of the models exchanged."""
    inside = (won - lost) / examples
    outside = np.full_like(inside, -1.0)
    for _ in range(_HALVINGS):
        between = (inside + outside) / 2
        held = _held(between, won, lost, examples, z)
        inside, outside = np.where(held, between, inside), np.where(held, outside, between)
    return inside


def _held(
    difference: NDArray[np.float64],
    won: NDArray[np.float64],
    lost: NDArray[np.float64],
    examples: NDArray[np.float64],
    z: float,
) -> NDArray[np.bool_]:
    """Return whether the interval holds each difference, [N]."""
    linear = (2 * examples - won + lost) * difference - won - lost
    constant = -lost * difference * (1 - difference)
    root = np.sqrt(np.maximum(linear**2 - 8 * examples * constant, 0.0))
    share = (root - linear) / (4 * examples)
    variance = examples * (2 * share + difference * (1 - difference))
    held: NDArray[np.bool_] = (won - lost - examples * difference) ** 2 <= z**2 * np.maximum(variance, 0.0)
    return held
