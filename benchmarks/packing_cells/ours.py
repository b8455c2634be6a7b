"""Variant (c): the packed engine."""

from packing_cells.decoding import DecodeLoad
from packing_cells.measured import Measured, Options
from packing_cells.shapes import ModelShape
from packing_cells.workload import Workload


def measure_ours(
    shape: ModelShape, workload: Workload, *, slots: int, steps: int, options: Options
) -> Measured:
    """Useful tokens a second of a pack.

    Args:
        shape: the model.
        workload: the data of each slot's trial; `trial_examples(workload, shape, ...)` with a seed a slot.
        slots: K, the trials that train at once.
        steps: pack steps that are timed, after `options.warmup_steps`.
        options: device, warm-up, seed and whether the base is cached in bf16.

    Returns:
        The measurement; `details["refill_pack_steps"]` where refilling was measured.
    """
    raise NotImplementedError("the packed engine is not measured yet")


def measure_decoding_ours(shape: ModelShape, load: DecodeLoad, *, options: Options) -> Measured:
    """New tokens a second of several adapters decoded together.

    Args:
        shape: the model.
        load: adapters and prompts.
        options: device and seed.
    """
    raise NotImplementedError("packed decoding is not measured yet")
