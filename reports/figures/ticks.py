"""Ticks of logarithmic axes."""

import math


def log_ticks(low: float, high: float) -> list[float]:
    """Return ticks of a logarithmic axis: powers of ten; if these are few, also their doubles and halves."""
    first, last, decades = math.floor(math.log10(low)), math.ceil(math.log10(high)), math.log10(high / low)
    steps = (1,) if decades > 2.2 else (1, 3) if decades > 1.3 else (1, 2, 5)
    ticks = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
    return [tick for tick in ticks if low / 1.5 <= tick <= high * 1.5]
