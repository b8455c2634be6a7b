"""The results file: one line of JSON per measurement, so that a run resumes where the last one ended."""

import json
import statistics
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One measurement of one variant, or the note that it did not fit.

    Attributes:
        cell: `SHAPE:LOAD`.
        variant: its name.
        repeat: number of the repeat, from 0.
        wall_seconds: total, including building, warm-up and waiting.
        machine: device and versions.
        measured: the fields of `measured.Measured`; None if it ran out of memory.
    """

    cell: str
    variant: str
    repeat: int
    wall_seconds: float
    machine: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] | None = None

    @property
    def fits(self) -> bool:
        """True unless it ran out of memory."""
        return self.measured is not None

    @property
    def device(self) -> str:
        """Name of the device; figures of two devices are not compared."""
        return str(self.machine.get("device", "unknown"))


class Results:
    """Readings of this and earlier runs."""

    def __init__(self, path: Path | None = None) -> None:
        """Read the file if it exists.

        Args:
            path: the file, which need not exist; None keeps readings in memory alone.
        """
        self._path = path
        self.readings = list(read_readings([path])) if path is not None and path.exists() else []

    def add(self, reading: Reading) -> None:
        """Keep a reading, in the file before anything else happens."""
        self.readings.append(reading)
        if self._path is not None:
            append_line(self._path, asdict(reading))

    def pending(
        self, cell: str, variants: Iterable[str], *, repeats: int, device: str
    ) -> list[tuple[int, str]]:
        """Return repeat and variant of what is still to be measured, the variants taking turns.

        A variant that did not fit once is not tried again.
        """
        here = [r for r in self.readings if r.cell == cell and r.device == device]
        done = {(reading.repeat, reading.variant) for reading in here}
        too_large = {reading.variant for reading in here if not reading.fits}
        return [
            (repeat, variant)
            for repeat in range(repeats)
            for variant in variants
            if (repeat, variant) not in done and variant not in too_large
        ]

    def expected_seconds(self, cell: str, variant: str, *, device: str, otherwise: float) -> float:
        """Return the median seconds of a variant on this shape over all loads; `otherwise` if unknown."""
        shape = cell.partition(":")[0]
        taken = [
            reading.wall_seconds
            for reading in self.readings
            if (reading.device, reading.variant) == (device, variant)
            and reading.cell.partition(":")[0] == shape
        ]
        return statistics.median(taken) if taken else otherwise


def read_readings(paths: Iterable[Path]) -> Iterable[Reading]:
    """Load the readings of some files."""
    return (Reading(**line) for path in paths for line in read_lines(path))


def read_lines(path: Path) -> Iterator[dict[str, Any]]:
    """Load the lines of a JSONL file; a line cut off by a kill is passed over."""
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield json.loads(line)
        except json.JSONDecodeError:
            continue


def append_line(path: Path, line: Mapping[str, Any]) -> None:
    """Add a line to a JSONL file, below one that a kill cut off."""
    written = path.read_bytes() if path.exists() else b""
    torn = written != b"" and not written.endswith(b"\n")
    with path.open("a", encoding="utf-8") as file:
        file.write(("\n" if torn else "") + json.dumps(line) + "\n")


def by_device(readings: Iterable[Reading]) -> dict[str, list[Reading]]:
    """Group readings by device, in the order of their first readings."""
    grouped: dict[str, list[Reading]] = {}
    for reading in readings:
        grouped.setdefault(reading.device, []).append(reading)
    return grouped
