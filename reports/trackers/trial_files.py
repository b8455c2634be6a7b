"""What a tracker reads of a trial from the study folder."""

import contextlib
import os
from collections.abc import Iterable, Iterator, Sequence

from pydantic import ValidationError

from loratory.objectives.records import CurvePoint, Measurement
from loratory.objectives.study_folder import StudyFolder


def merge(
    points: Sequence[CurvePoint], measurements: Sequence[Measurement]
) -> list[CurvePoint | Measurement]:
    """Curve and evaluations in the order of training; an evaluation stands after the step it was made at."""
    keyed: list[tuple[int, int, CurvePoint | Measurement]] = [(p.optimizer_step, 0, p) for p in points]
    keyed += [(m.optimizer_steps, m.step, m) for m in measurements]
    return [item for _, _, item in sorted(keyed, key=lambda entry: entry[:2])]


class CurveReader:
    """A curve that grows: each call reads only what was added since the last one."""

    def __init__(self, folder: StudyFolder, key: str) -> None:
        """Begin at the start of a trial's curve."""
        self._path = folder.curve(key)
        self._file_number = -1
        self._offset_bytes = 0

    def read(self) -> list[CurvePoint]:
        """Points in whole lines that are new; all of them again where the file was replaced."""
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
        with contextlib.suppress(ValidationError):  # a crash cut it short, and the next line was joined to it
            yield CurvePoint.model_validate_json(line)
