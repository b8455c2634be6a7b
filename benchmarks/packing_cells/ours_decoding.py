"""Decoding with the packed engine: all adapters at once."""

import os
import time

import torch

from loratory.objectives.packing.decoding.decoder import (
    Answer,
    Decoder,
    Prompt,
    cache_positions,
    rows_that_fit,
)
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.stack import AdapterStack, AdapterState
from packing_cells.decoding import DecodeLoad, prompt_ids
from packing_cells.device_memory import DeviceMemory, peak_bytes, synchronize
from packing_cells.measured import Measured, Options
from packing_cells.ours import SETTINGS, fresh_adapter, packed_model
from packing_cells.shapes import ModelShape
from packing_cells.trainer import RANK

_MOST_ROWS = 512
_STANDARD_DEVIATION = 0.02
_PADDING_ID = 1


def measure_decoding_ours(shape: ModelShape, load: DecodeLoad, *, options: Options) -> Measured:
    """Measure new tokens per second of several adapters together, once all graphs are captured.

    Args:
        shape: the model.
        load: adapters and prompts.
        options: device and seed.
    """
    memory = DeviceMemory(options.device, context_bytes=options.context_bytes)
    packed = packed_model(shape, options=options)
    stack = random_stack(packed, adapters=load.adapters)
    rows = _rows(packed, load)
    decoder = make_decoder(packed, stack, load, rows=rows)
    prompts = [tuple(row) for row in prompt_ids(load, shape, seed=options.seed).tolist()]
    _answer(decoder, load, prompts)
    synchronize(options.device)
    started = time.perf_counter()
    answers = _answer(decoder, load, prompts)
    synchronize(options.device)
    seconds = time.perf_counter() - started
    return Measured(
        tokens_per_second=sum(len(answer.ids) for answer in answers) / seconds,
        trials=load.adapters,
        steps=load.new_tokens,
        seconds=seconds,
        peak_memory_bytes=peak_bytes(options.device),
        device_memory_bytes=memory.device_bytes(),
        details={"rows": float(rows), "base_held": float(packed.holds_base)},
    )


def random_stack(packed: PackedModel, *, adapters: int) -> AdapterStack:
    stack = AdapterStack(
        packed.layers,
        slots=adapters,
        rank=RANK,
        device=packed.device,
        compute_dtype=packed.compute_dtype,
        trains=False,
    )
    for slot in range(adapters):
        stack.put(slot, _random_adapter(packed, seed=slot), scaling=SETTINGS.scaling)
    return stack


def _random_adapter(packed: PackedModel, *, seed: int) -> AdapterState:
    """Return an adapter with random A and random B."""
    draw = torch.Generator(packed.device).manual_seed(seed)
    return {
        name: matrix.normal_(0.0, _STANDARD_DEVIATION, generator=draw) if ".lora_B." in name else matrix
        for name, matrix in fresh_adapter(packed, seed=seed).items()
    }


def make_decoder(packed: PackedModel, stack: AdapterStack, load: DecodeLoad, *, rows: int) -> Decoder:
    return Decoder(
        packed,
        PassRunner(packed.device, graphs=packed.fused_attention),
        stack,
        end_ids=(),
        padding_id=_PADDING_ID,
        max_new_tokens=load.new_tokens,
        longest_prompt=load.prompt_tokens,
        rows=rows,
    )


def _rows(packed: PackedModel, load: DecodeLoad) -> int:
    """Return the rows of a cache that takes at most a third of the free memory."""
    positions = cache_positions(longest_prompt=load.prompt_tokens, max_new_tokens=load.new_tokens)
    fitting = rows_that_fit(
        packed.model.config,
        positions=positions,
        dtype=packed.compute_dtype,
        bytes=_free_bytes(packed.device) // 3,
    )
    return min(_MOST_ROWS, fitting)


def _free_bytes(device: torch.device) -> int:
    if device.type == "cpu":
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def _answer(decoder: Decoder, load: DecodeLoad, prompts: list[tuple[int, ...]]) -> list[Answer]:
    """Decode the answers of every adapter to every prompt.

    Raises:
        RuntimeError: an answer has another length than all must have.
    """
    decoder.add(
        Prompt(slot=slot, key=(slot, number), ids=ids)
        for slot in range(load.adapters)
        for number, ids in enumerate(prompts)
    )
    answers: list[Answer] = []
    while decoder.busy:
        answers += decoder.advance()
    lengths = {len(answer.ids) for answer in answers}
    if len(answers) != load.adapters * len(prompts) or lengths != {load.new_tokens}:
        raise RuntimeError(
            f"every adapter must answer every prompt with {load.new_tokens} tokens, got {len(answers)} "
            f"answers of {sorted(lengths)} tokens"
        )
    return answers
