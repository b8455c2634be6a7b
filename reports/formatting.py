"""Numbers and names as people read them."""

from typing import Any

from loratory.objectives.records import TrialState

_LABELS = {
    "loss": "loss",
    "bleu": "BLEU",
    "chrf": "chrF",
    "rouge1": "ROUGE-1",
    "rouge2": "ROUGE-2",
    "rougeL": "ROUGE-L",
    "token_f1": "token F1",
    "exact_match": "exact match",
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
}


def label(metric: str) -> str:
    """A metric's name in prose."""
    return _LABELS.get(metric, metric)


def score(value: float | None) -> str:
    """A score with as many digits as a scale to 1 or to 100 asks for; a dash for none."""
    if value is None:
        return "–"
    return f"{value:.4f}" if abs(value) < 10 else f"{value:.2f}"


def signed(value: float | None) -> str:
    """A gain with its sign; a dash for none."""
    if value is None:
        return "–"
    return ("+" if value >= 0 else "−") + score(abs(value))


def parameter(value: Any) -> str:
    """A sampled value."""
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(parameter, value))
    return str(value)


def duration(seconds: float | None) -> str:
    """A time in its two largest units; a dash for none."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(count: int | None) -> str:
    """Bytes in binary units; a dash for none or zero."""
    if not count:
        return "–"
    amount = float(count)
    for unit in ("bytes", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


# Whether a trial runs or waits to go on after Ctrl-C is not in its record.
_PROSE = {TrialState.FAIL: "failed", TrialState.RUNNING: "unfinished", TrialState.PAUSED: "paused"}


def state(of: TrialState) -> str:
    """A state in prose."""
    return _PROSE.get(of, of.value.lower())


def counts(by_state: dict[TrialState, int]) -> str:
    """How many trials are in which state, complete ones first, those with none left out."""
    states = [TrialState.COMPLETE, *(s for s in TrialState if s is not TrialState.COMPLETE)]
    named = [f"{by_state[s]} {state(s)}" for s in states if by_state.get(s)]
    return ", ".join(named) or "no trial yet"
