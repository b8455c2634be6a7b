"""Where the time of a run went, in words."""

from collections.abc import Sequence

from loratory.objectives.work_times import WorkerTimes

_PARTS = ("start", "training", "scoring", "idle")
_SHOWN_AS_SECONDS = 1000


def times_text(times: Sequence[WorkerTimes]) -> str:
    """Return where the time went, in a line: of one worker, or the mean of several."""
    count = len(times)

    def mean(part: str) -> str:
        seconds = sum(getattr(one, f"{part}seconds") for one in times) / count
        return f"{seconds:,.0f} s" if seconds < _SHOWN_AS_SECONDS else f"{seconds / 60:,.0f} min"

    parts = ", ".join(f"{mean(f'{name}_')} {name}" for name in _PARTS)
    decoded, scoring = sum(one.decoded_tokens for one in times), sum(one.scoring_seconds for one in times)
    rate = f"; {decoded / scoring:,.0f} tokens of answers per second of scoring" if decoded else ""
    of = "" if count == 1 else f" per worker, on average of {count}"
    return f"time: {mean('')}{of}: {parts}{rate}"
