"""curve.jsonl: an optimiser step a line, added to while a trial trains."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.records import CurvePoint

_POINTS = TypeAdapter(list[CurvePoint])


def append(path: Path, points: Iterable[CurvePoint]) -> None:
    """Add optimiser steps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        file.writelines(_lines(points))


def read(path: Path) -> list[CurvePoint]:
    """Return the steps up to the first line that a crash cut short; none where there is no file."""
    return _whole_points(path) if path.is_file() else []


def cut(path: Path, *, after_optimizer_step: int) -> None:
    """Drop the steps after one."""
    kept = [point for point in read(path) if point.optimizer_step <= after_optimizer_step]
    write_atomically(path, "".join(_lines(kept)).encode())


def _lines(points: Iterable[CurvePoint]) -> Iterator[str]:
    return (point.model_dump_json() + "\n" for point in points)


def _whole_points(path: Path) -> list[CurvePoint]:
    lines = path.read_text(encoding="utf-8").splitlines()
    try:
        # All lines at once are read five times as fast as one by one.
        return _POINTS.validate_json(f"[{','.join(lines)}]")
    except ValidationError:
        return list(_points_before_damage(lines))


def _points_before_damage(lines: Iterable[str]) -> Iterator[CurvePoint]:
    for line in lines:
        try:
            yield CurvePoint.model_validate_json(line)
        except ValidationError:
            return
