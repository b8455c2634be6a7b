"""What a worker's trace says about a study: how long, on what, and how many slots were in use."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_SPANS = 20
_BESIDE = ("place", "copy", "report", "finish")

Line = dict[str, Any]


def read_trace(path: Path) -> list[Line]:
    """The lines of a trace, see `study_worker.TracedHost`."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def summarize_trace(lines: Sequence[Line]) -> dict[str, Any]:
    """The study from the first `started` to the last `finished`.

    A pass of training is launched without waiting for it and waits for the one before: the last pass before
    some scoring counts as scoring. What is neither, `other_seconds`, is the worker's own work between pieces
    (adapters put in and taken out, answers scored, files made), during which the device may still be busy
    with the last pass: its share is the most that the device can have been idle in.

    Args:
        lines: of one worker.

    Returns:
        Seconds, slots as a mean over time, slots in twentieths of the time, and how often what was done.
        `busy_share`: of the pack's slots those in use until the last trial took its own. `known_seconds`:
        parts of `other_seconds`, by kind of piece.
    """
    starts = [line["at"] for line in lines if line["kind"] == "started"]
    start = min(starts)
    end = max(line["at"] for line in lines if line["kind"] == "finished")
    pieces = [line for line in lines if line["kind"] in ("train", "score") and start <= line["at"] < end]
    seconds = {kind: sum(p["seconds"] for p in pieces if p["kind"] == kind) for kind in ("train", "score")}
    beside = [line for line in lines if line["kind"] in _BESIDE and start <= line["at"] < end]
    ready = next(line for line in lines if line["kind"] == "ready")
    return {
        "trials": len({line["number"] for line in lines if line["kind"] == "finished"}),
        "makespan_seconds": end - start,
        "training_seconds": seconds["train"],
        "scoring_seconds": seconds["score"],
        "other_seconds": end - start - sum(seconds.values()),
        "known_seconds": {k: sum(p["seconds"] for p in beside if p["kind"] == k) for k in _BESIDE},
        "passes": sum(piece["kind"] == "train" for piece in pieces),
        "pieces_of_scoring": sum(piece["kind"] == "score" for piece in pieces),
        "trials_at_once": ready["slots"],
        "mean_slots": _slots(pieces, start, end),
        "busy_share": _slots(pieces, start, max(starts)) / pieces[0]["of"] if max(starts) > start else None,
        "slots_over_time": [
            round(
                _slots(
                    pieces,
                    start + (end - start) * place / _SPANS,
                    start + (end - start) * (place + 1) / _SPANS,
                ),
                1,
            )
            for place in range(_SPANS)
        ],
        "notes": list(ready["notes"]),
    }


def _slots(pieces: Sequence[Line], start: float, end: float) -> float:
    """Slots in use, a mean over a span of time; what a piece found stays so until the next begins."""
    area = 0.0
    for piece, following in zip(pieces, [*[p["at"] for p in pieces[1:]], end], strict=True):
        area += piece["slots"] * max(0.0, min(following, end) - max(piece["at"], start))
    return area / (end - start)
