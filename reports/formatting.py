"""Format numbers and names for people."""

from typing import Any, Final

from loratory.objectives.records import TrialState
from loratory.reports.findings import Interval
from loratory.spaces.metric_names import METRICS


def label(metric: str) -> str:
    """Return the label of a metric."""
    return METRICS[metric].label if metric in METRICS else metric


def score(value: float | None) -> str:
    """Format a score with 4 decimals below 10 and 2 above; a dash for None."""
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def between(interval: Interval | None) -> str:
    """Format an interval as `[low, high]`; a dash for None."""
    if interval is None:
        return "–"
    ends = (score(end).replace("-", "−") for end in (interval.low, interval.high))
    return f"[{', '.join(ends)}]"


def signed(value: float | None) -> str:
    """Format a gain with its sign; a dash for None."""
    if value is None:
        return "–"
    return ("+" if value >= 0 else "−") + score(abs(value))


def chance(p: float) -> str:
    """Format a p: below 0.1 with three digits, so that one beside 0.05 is told from it."""
    if p < 0.01:
        return "< 0.01"
    return f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def about(count: int) -> str:
    """Format an estimated number with two digits, the others 0."""
    return f"{round(count, -max(0, len(str(count)) - 2)):,}"


def parameter(value: Any) -> str:
    """Format a sampled value."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(parameter, value))
    return str(value)


def duration(seconds: float | None) -> str:
    """Format a time in its two largest units; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


TIMES: Final = (
    "Device time adds up over workers, which run side by side; the time of a step is shared among the trials "
    "that train in it. From the first start to the last end is time on the clock, with all breaks."
)
"""A sentence for all views that explains the times of a study."""


def size(count: int | None) -> str:
    """Format bytes in binary units; a dash for None or zero."""
    if not count:
        return "–"
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


# A record does not tell a running trial from one that waits to be resumed.
_PROSE = {TrialState.FAIL: "failed", TrialState.RUNNING: "unfinished", TrialState.PAUSED: "paused"}


def state(of: TrialState) -> str:
    """Return the word for a state."""
    return _PROSE.get(of, of.value.lower())


def counts(by_state: dict[TrialState, int]) -> str:
    """Count trials by state, complete ones first, states without trials left out."""
    states = [TrialState.COMPLETE, *(s for s in TrialState if s is not TrialState.COMPLETE)]
    named = [f"{by_state[s]} {state(s)}" for s in states if by_state.get(s)]
    return ", ".join(named) or "no trial yet"


def never_started(count: int) -> str:
    """Say how many trials no worker was given; nothing for none."""
    if not count:
        return ""
    trials = "1 infeasible trial was" if count == 1 else f"{count} infeasible trials were"
    return f"{trials} predicted to fit no worker and not started"
