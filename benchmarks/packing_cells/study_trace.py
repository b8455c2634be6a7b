"""Summary of the workers' traces: the time of a study, what it went to, and the slots in use."""

import json
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import Any

_SPANS = 20
_BESIDE = ("place", "copy", "report", "finish")

Line = dict[str, Any]


def read_trace(path: Path) -> list[Line]:
    """Load the lines of a trace, see `study_worker.TracedHost`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def summarize_trace(lines: Sequence[Line]) -> dict[str, Any]:
    """Summarize the time from the first `started` to the last `finished` of any worker.

    A pass of training is launched without waiting for it and waits for the one before: the last pass before
    some scoring counts as scoring. What is neither, `other_seconds`, is the worker's own work between pieces
    (adapters put in and taken out, answers scored, files made), during which the device may still be busy
    with the last pass: its share is the most that the device can have been idle in.

    Args:
        lines: of all workers.

    Returns:
        Seconds, a mean over workers; slots of all workers, as a mean over time and in twentieths of the
        time; numbers of passes and pieces. `busy_share`: share of all slots in use until the last trial took
        its own. `known_seconds`: parts of `other_seconds`, by kind of piece.
    """
    starts = [line["at"] for line in lines if line["kind"] == "started"]
    start = min(starts)
    end = max(line["at"] for line in lines if line["kind"] == "finished")
    by_worker: dict[Any, list[Line]] = {}
    for line in lines:
        by_worker.setdefault(line.get("worker"), []).append(line)
    workers = [_Worker(own, start, end) for own in by_worker.values()]
    seconds = {
        kind: mean(worker.seconds(kind) for worker in workers) for kind in ("train", "score", *_BESIDE)
    }
    ready = [line for line in lines if line["kind"] == "ready"]

    def slots(first: float, last: float) -> float:
        return sum(worker.slots(first, last) for worker in workers)

    ends = [start + (end - start) * place / _SPANS for place in range(_SPANS + 1)]
    of, last = sum(worker.of for worker in workers), max(starts)
    return {
        "workers": len(workers),
        "trials": len({line["number"] for line in lines if line["kind"] == "finished"}),
        "makespan_seconds": end - start,
        "training_seconds": seconds["train"],
        "scoring_seconds": seconds["score"],
        "other_seconds": end - start - seconds["train"] - seconds["score"],
        "known_seconds": {kind: seconds[kind] for kind in _BESIDE},
        "passes": sum(worker.count("train") for worker in workers),
        "pieces_of_scoring": sum(worker.count("score") for worker in workers),
        "trials_at_once": sum(line["slots"] for line in ready),
        "mean_slots": slots(start, end),
        "busy_share": slots(start, last) / of if last > start else None,
        "slots_over_time": [round(slots(*span), 1) for span in pairwise(ends)],
        "notes": list(ready[0]["notes"]),
    }


class _Worker:
    """The work of one worker between two moments.

    Attributes:
        of: number of its slots.
    """

    def __init__(self, lines: Sequence[Line], start: float, end: float) -> None:
        within = [line for line in lines if start <= line["at"] < end]
        self._pieces = [line for line in within if line["kind"] in ("train", "score")]
        self._lines, self._end = within, end
        self.of: int = next((line["of"] for line in self._pieces), 0)

    def seconds(self, kind: str) -> float:
        return float(sum(line["seconds"] for line in self._lines if line["kind"] == kind))

    def count(self, kind: str) -> int:
        return sum(line["kind"] == kind for line in self._pieces)

    def slots(self, start: float, end: float) -> float:
        """Return the mean of slots in use over a span; a piece's number holds until the next piece begins."""
        area, following = 0.0, [*[piece["at"] for piece in self._pieces[1:]], self._end]
        for piece, until in zip(self._pieces, following, strict=bool(self._pieces)):
            area += piece["slots"] * max(0.0, min(until, end) - max(piece["at"], start))
        return area / (end - start)
