"""The results file: a line of JSON for every measurement, so that a run goes on where the last one ended."""

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One measurement of one variant, or the note that it did not fit.

    Attributes:
        cell: `SHAPE:LOAD`.
        variant: its name.
        repeat: which of the repeats, from 0.
        wall_seconds: with building, warm-up and waiting.
        machine: device and versions.
        measured: the fields of `measured.Measured`; None where memory did not suffice.
    """

    cell: str
    variant: str
    repeat: int
    wall_seconds: float
    machine: dict[str, Any] = field(default_factory=dict)
    measured: dict[str, Any] | None = None

    @property
    def fits(self) -> bool:
        """Whether memory sufficed."""
        return self.measured is not None

    @property
    def device(self) -> str:
        """Name of what it was measured on: numbers of two devices are not compared."""
        return str(self.machine.get("device", "unknown"))


class Results:
    """Readings of this and earlier runs."""

    def __init__(self, path: Path | None = None) -> None:
        """Read what there is.

        Args:
            path: the file, which need not exist; None keeps readings in memory alone.
        """
        self._path = path
        self.readings = list(read_readings([path])) if path is not None and path.exists() else []

    def add(self, reading: Reading) -> None:
        """Keep a reading, in the file before anything else happens."""
        self.readings.append(reading)
        if self._path is None:
            return
        written = self._path.read_bytes() if self._path.exists() else b""
        torn = written != b"" and not written.endswith(b"\n")
        with self._path.open("a", encoding="utf-8") as file:
            file.write(("\n" if torn else "") + json.dumps(asdict(reading)) + "\n")

    def pending(
        self, cell: str, variants: Iterable[str], *, repeats: int, device: str
    ) -> list[tuple[int, str]]:
        """What is still to measure in a cell on a device, the variants taking turns: repeat and variant.

        What did not fit once is not tried again.
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
        """How long a variant takes on this shape, the median over all loads; `otherwise` where unknown."""
        shape = cell.partition(":")[0]
        taken = [
            reading.wall_seconds
            for reading in self.readings
            if (reading.device, reading.variant) == (device, variant)
            and reading.cell.partition(":")[0] == shape
        ]
        return statistics.median(taken) if taken else otherwise


def read_readings(paths: Iterable[Path]) -> Iterable[Reading]:
    """The readings of some files; a line cut off by a kill is passed over."""
    for path in paths:
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield Reading(**json.loads(line))
            except json.JSONDecodeError:
                continue


def by_device(readings: Iterable[Reading]) -> dict[str, list[Reading]]:
    """The readings of each device, in the order in which devices come first."""
    grouped: dict[str, list[Reading]] = {}
    for reading in readings:
        grouped.setdefault(reading.device, []).append(reading)
    return grouped
