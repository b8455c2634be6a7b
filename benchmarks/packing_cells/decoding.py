"""Greedy decoding of several adapters with PEFT: one `generate` call after another."""

import random
import time
from dataclasses import dataclass
from typing import Any

import torch
from peft import LoraConfig, get_peft_model

from packing_cells.device_memory import DeviceMemory, peak_bytes, synchronize
from packing_cells.measured import Measured, Options
from packing_cells.models import build_model
from packing_cells.shapes import ModelShape
from packing_cells.trainer import ALPHA, RANK


@dataclass(frozen=True, kw_only=True)
class DecodeLoad:
    """The amount of decoding.

    Attributes:
        adapters: number of adapters; each decodes every prompt.
        prompts: number of prompts, all of one length, the same for every adapter.
        prompt_tokens: their length.
        new_tokens: decoded per prompt; no end-of-sequence token stops one early.
    """

    adapters: int = 8
    prompts: int = 64
    prompt_tokens: int = 128
    new_tokens: int = 64


def prompt_ids(load: DecodeLoad, shape: ModelShape, *, seed: int) -> torch.Tensor:
    """Return the prompts, int64 [prompts, prompt_tokens], on the CPU."""
    draw = random.Random(seed)
    rows = [draw.choices(range(2, shape.vocabulary), k=load.prompt_tokens) for _ in range(load.prompts)]
    return torch.tensor(rows)


def measure_decode_reference(shape: ModelShape, load: DecodeLoad, *, options: Options) -> Measured:
    """Measure new tokens per second of one `generate` call per adapter, one after another.

    Args:
        shape: the model.
        load: adapters and prompts.
        options: device and seed.
    """
    memory = DeviceMemory(options.device, context_bytes=options.context_bytes)
    model = _with_adapters(build_model(shape, device=options.device), load.adapters, seed=options.seed)
    prompts = prompt_ids(load, shape, seed=options.seed).to(options.device)
    decode(model, prompts, new_tokens=2)
    synchronize(options.device)
    started = time.perf_counter()
    for number in range(load.adapters):
        model.set_adapter(str(number))
        decode(model, prompts, new_tokens=load.new_tokens)
    synchronize(options.device)
    seconds = time.perf_counter() - started
    return Measured(
        tokens_per_second=load.adapters * load.prompts * load.new_tokens / seconds,
        trials=load.adapters,
        steps=load.new_tokens,
        seconds=seconds,
        peak_memory_bytes=peak_bytes(options.device),
        device_memory_bytes=memory.device_bytes(),
    )


def _with_adapters(model: Any, adapters: int, *, seed: int) -> Any:
    """Adapters "0", "1", ... of random matrices, B too, in the compute dtype: nothing is cast on the way."""
    torch.manual_seed(seed)
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=RANK,
        lora_alpha=ALPHA,
        target_modules="all-linear",
        init_lora_weights=False,
    )
    adapted = get_peft_model(model, config, adapter_name="0", autocast_adapter_dtype=False)
    for number in range(1, adapters):
        adapted.add_adapter(str(number), config, autocast_adapter_dtype=False)
    return adapted.to(model.dtype).eval()


@torch.no_grad()
def decode(model: Any, prompts: torch.Tensor, *, new_tokens: int) -> torch.Tensor:
    """Decode greedily without an end; return int64 [prompts, prompt_tokens + new_tokens]."""
    from transformers import GenerationConfig

    greedy = GenerationConfig(
        do_sample=False, max_new_tokens=new_tokens, eos_token_id=None, pad_token_id=1, use_cache=True
    )
    decoded: torch.Tensor = model.generate(
        input_ids=prompts, attention_mask=torch.ones_like(prompts), generation_config=greedy
    )
    if decoded.shape[1] != prompts.shape[1] + new_tokens:
        raise RuntimeError(f"every row must decode {new_tokens} tokens, got {decoded.shape[1]} in all")
    return decoded
