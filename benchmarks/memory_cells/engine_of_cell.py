"""The engine of a cell: the worker's own, in the arrangement that the cell names."""

from packing_cells.shapes import ModelShape

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.qlora.base.architecture import Architecture
from loratory.objectives.qlora.base.loading import Base, checkpoint_activations
from loratory.objectives.qlora.base.probe import Ways
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.engine import Engine
from loratory.objectives.qlora.memory.admission import Admitted
from loratory.objectives.qlora.memory.engine_size import EngineSize, stack_size
from loratory.spaces.study import StudySpec
from memory_cells.cells import MemoryCell
from memory_cells.worker import random_data, study_of

_WAYS = Ways(generation=None, checks=(), notes=())


def study_of_cell(cell: MemoryCell, reference: BaseReference) -> StudySpec:
    """Return the study whose largest pass, prompts and adapters are those of a cell."""
    return study_of(
        reference,
        length=cell.length,
        ranks=(cell.rank,),
        batch_sizes=(cell.batch_size,),
        max_new_tokens=cell.max_new_tokens,
        trials=cell.slots,
    )


def data_of_cell(cell: MemoryCell, shape: ModelShape) -> PreparedData:
    """Return data for an update of all slots, and for scoring in passes and rows that are full."""
    return random_data(
        shape,
        length=cell.length,
        prompt_tokens=cell.prompt_tokens,
        train=cell.slots * cell.batch_size,
        scored=max(cell.decoding_rows, -(-cell.tokens_per_pass // cell.length)),
    )


def engine_size(cell: MemoryCell) -> EngineSize:
    """Return the sizes of a cell's engine."""
    return EngineSize(
        slots=cell.slots,
        tokens_per_pass=cell.tokens_per_pass,
        decoding_rows=cell.decoding_rows,
        hold_base=cell.hold_base,
        checkpointing=cell.checkpointing,
        optimizer_bits=cell.optimizer_bits,
    )


def build_cell_engine(
    cell: MemoryCell,
    shape: ModelShape,
    *,
    base: Base,
    model: PackedModel,
    architecture: Architecture,
    reference: BaseReference,
) -> tuple[Engine, PreparedData]:
    """Build the engine of a cell over a base, and its data."""
    study, data = study_of_cell(cell, reference), data_of_cell(cell, shape)
    checkpoint_activations(base.model, enabled=cell.checkpointing)
    engine = Engine(
        study,
        base=base,
        model=model,
        architecture=architecture,
        data=data,
        admission=None,
        admitted=Admitted(size=engine_size(cell), stack=stack_size(study, architecture)),
        ways=_WAYS,
    )
    return engine, data


def reset_model(model: PackedModel) -> None:
    """Undo what an engine did to a base: nothing is held, and nothing is recomputed."""
    model.release_base()
    checkpoint_activations(model.model, enabled=False)
