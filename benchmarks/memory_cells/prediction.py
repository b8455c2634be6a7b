"""Prediction of a cell's memory from its base's configuration, compared with the measured peak."""

import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from packing_cells.shapes import SHAPES

from loratory.objectives.qlora.base.architecture import read_configuration
from loratory.objectives.qlora.memory.engine_size import stack_size
from loratory.objectives.qlora.memory.facts import model_facts, workload
from loratory.objectives.qlora.memory.predict import predict
from loratory.objectives.qlora.memory.terms import MemoryTerms
from memory_cells.cells import CELLS, MemoryCell, held_out
from memory_cells.engine_of_cell import data_of_cell, engine_size, study_of_cell
from memory_cells.worker import architecture_of, base_reference

_GIB = 2**30
# What is promised: within a tenth or half a GiB, and never more than 3% under.
_SHARE, _GIB_OFF, _UNDER = 0.10, 0.5, 0.03


@dataclass(frozen=True, kw_only=True)
class Compared:
    """Prediction and measurement of one cell.

    Attributes:
        cell: the cell.
        terms: the prediction.
        measured: peak of the process in bytes, its context included.
        held_out: whether the cell was not looked at while the model was fitted.
    """

    cell: MemoryCell
    terms: MemoryTerms
    measured: int
    held_out: bool

    @property
    def error(self) -> float:
        """Predicted minus measured, over measured."""
        return self.terms.total / self.measured - 1

    @property
    def gib_off(self) -> float:
        """Predicted minus measured in GiB."""
        return (self.terms.total - self.measured) / _GIB

    @property
    def good(self) -> bool:
        """True if the prediction keeps what is promised."""
        return (abs(self.error) <= _SHARE or abs(self.gib_off) <= _GIB_OFF) and self.error >= -_UNDER


def compared(lines: Iterable[dict[str, Any]], *, seed: int) -> list[Compared]:
    """Compare the lines of a results file with the memory model; those that did not fit are left out.

    Args:
        lines: of the results file.
        seed: chooses the half that is held out.
    """
    given = {line["name"]: line for line in lines if line["error"] is None}
    cells = {name: MemoryCell(**line["cell"]) for name, line in given.items()}
    out = held_out(CELLS, seed=seed)
    return [
        Compared(
            cell=cells[name],
            terms=predicted(cells[name]),
            measured=max(line["peak_bytes"], line["sampled_peak_bytes"]),
            held_out=name in out,
        )
        for name, line in given.items()
    ]


def predicted(cell: MemoryCell, *, dtype: torch.dtype = torch.bfloat16) -> MemoryTerms:
    """Predict the memory of a cell.

    Args:
        cell: the cell.
        dtype: compute dtype.
    """
    shape = SHAPES[cell.shape]
    with tempfile.TemporaryDirectory() as folder:
        reference = base_reference(shape, Path(folder))
        study = study_of_cell(cell, reference)
        stack = stack_size(study, architecture_of(reference))
        facts = model_facts(
            study.model,
            reference,
            read_configuration(reference),
            stack,
            dtype=dtype,
            longest=cell.length,
        )
    work = workload(study, data_of_cell(cell, shape), stack, dtype=dtype)
    return predict(facts, work, engine_size(cell))
