"""Read a trial's record and curve from the study folder, for trackers."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence

from pydantic import ValidationError

from loratory.objectives.records import CurvePoint, Measurement
from loratory.objectives.study_folder import StudyFolder


def merge(
    points: Sequence[CurvePoint], measurements: Sequence[Measurement]
) -> list[CurvePoint | Measurement]:
    """Return curve and evaluations in the order of training; an evaluation comes after its step."""
    keyed: list[tuple[int, int, CurvePoint | Measurement]] = [(p.optimizer_step, 0, p) for p in points]
    keyed += [(m.optimizer_steps, m.step, m) for m in measurements]
    return [item for _, _, item in sorted(keyed, key=lambda entry: entry[:2])]


class CurveReader:
    """Reads a growing curve: each call returns only the points added since the last one."""

    def __init__(self, folder: StudyFolder, key: str) -> None:
        """Start at the beginning of a trial's curve."""
        self._path = folder.curve(key)
        self._file_number = -1
        self._offset_bytes = 0

    def read(self) -> list[CurvePoint]:
        """Return the points of new, whole lines; all points again if the file was replaced."""
        if not self._path.is_file():
            return []
        with self._path.open("rb") as file:
            status = os.fstat(file.fileno())
            if status.st_ino != self._file_number or status.st_size < self._offset_bytes:
                self._file_number, self._offset_bytes = status.st_ino, 0
            file.seek(self._offset_bytes)
            text = file.read()
        text = text[: text.rfind(b"\n") + 1]
        self._offset_bytes += len(text)
        return list(_whole_points(text.splitlines()))


def _whole_points(lines: Iterable[bytes]) -> Iterator[CurvePoint]:
    for line in lines:
        with contextlib.suppress(ValidationError):  # a crash cut the line, and the next was appended
            yield CurvePoint.model_validate_json(line)
