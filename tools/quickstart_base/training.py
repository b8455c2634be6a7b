"""Train the quickstart's base: the recipe, the model, the order of the data and the training loop."""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from quickstart_base.tokenization import LONGEST_SEQUENCE, VOCABULARY_SIZE


@dataclass(frozen=True)
class Recipe:
    """Settings of the training."""

    tokens: int = 2_600_000_000
    """Total number of training tokens; the corpus is repeated, with other window borders each time."""
    batch_size: int = 128
    """Sequences of 512 tokens per step."""
    learning_rate: float = 5e-3
    """Peak learning rate, reached after the warm-up; then it falls linearly to zero."""
    warmup: float = 0.02
    """Share of the steps in which the learning rate rises."""
    weight_decay: float = 0.1
    """Weight decay of AdamW, on matrices only."""
    hidden_size: int = 192
    """Width of the model; a multiple of 64, the block size of nf4."""
    layers: int = 4
    """Number of decoder layers."""
    heads: int = 6
    """Number of attention heads."""
    intermediate_size: int = 512
    """Inner width of an MLP."""
    seed: int = 0
    """Seed of the initial weights and of the order of the data."""
    compile: bool = True
    """Whether torch compiles the model."""


def build_model(recipe: Recipe) -> LlamaForCausalLM:
    """Return the model with its initial weights in fp32; input and output embeddings are one matrix."""
    torch.manual_seed(recipe.seed)
    config = LlamaConfig(
        vocab_size=VOCABULARY_SIZE,
        hidden_size=recipe.hidden_size,
        intermediate_size=recipe.intermediate_size,
        num_hidden_layers=recipe.layers,
        num_attention_heads=recipe.heads,
        num_key_value_heads=recipe.heads,
        max_position_embeddings=LONGEST_SEQUENCE,
        tie_word_embeddings=True,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=1,
    )
    return LlamaForCausalLM(config)


def loss_of(model: torch.nn.Module, batch: torch.Tensor) -> torch.Tensor:
    """Return the mean loss in nats per token; batch is int64, shape (sequences, tokens + 1)."""
    with torch.autocast(batch.device.type, torch.bfloat16):
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


def batches(ids: torch.Tensor, *, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield batches endlessly, int64, shape (batch_size, 513): windows in random order, new in each pass."""
    generator = torch.Generator().manual_seed(seed)
    span = torch.arange(LONGEST_SEQUENCE + 1, device=ids.device)
    while True:
        shift = int(torch.randint(LONGEST_SEQUENCE, (1,), generator=generator))
        windows = (len(ids) - shift - 1) // LONGEST_SEQUENCE
        starts = shift + LONGEST_SEQUENCE * torch.randperm(windows, generator=generator).to(ids.device)
        for chosen in torch.split(starts, batch_size)[: max(1, windows // batch_size)]:
            yield ids[chosen[:, None] + span].long()


def optimizer_of(model: torch.nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    """Return AdamW, fused on a GPU, with weight decay on matrices and none on the norms' vectors."""
    parameters = list(model.parameters())
    groups = [
        {"params": [p for p in parameters if p.dim() > 1], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
    ]
    fused = parameters[0].is_cuda
    return torch.optim.AdamW(groups, lr=recipe.learning_rate, betas=(0.9, 0.95), fused=fused)


def learning_rate_factor(step: int, *, steps: int, warmup: float) -> float:
    """Return the share of the peak learning rate at a step: a linear rise, then a linear fall to zero.

    Linear decay to zero: Bergsma et al. 2025, arXiv:2502.15938.
    """
    rise = max(1, round(warmup * steps))
    return min((step + 1) / rise, (steps - step) / max(1, steps - rise))


def train(
    recipe: Recipe, ids: torch.Tensor, *, held_out: torch.Tensor
) -> tuple[LlamaForCausalLM, dict[str, float]]:
    """Train on ids, shape (tokens,), on their device; return the model and the measurements of the run."""
    model = build_model(recipe).to(ids.device)
    step_loss = torch.compile(loss_of) if recipe.compile else loss_of
    optimizer = optimizer_of(model, recipe)
    steps = max(1, recipe.tokens // (recipe.batch_size * LONGEST_SEQUENCE))
    source = batches(ids, batch_size=recipe.batch_size, seed=recipe.seed)
    began = time.monotonic()
    for step, batch in zip(range(steps), source, strict=False):
        factor = learning_rate_factor(step, steps=steps, warmup=recipe.warmup)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        loss = step_loss(model, batch)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % max(1, steps // 20) == 0:
            print(f"step {step}/{steps} loss {loss:.4f} seconds {time.monotonic() - began:.1f}", flush=True)
    seconds, held_out_loss = time.monotonic() - began, evaluate(model, held_out)
    return model, {"seconds": round(seconds, 1), "held_out_loss": round(held_out_loss, 4)}


@torch.no_grad()
def evaluate(model: torch.nn.Module, ids: torch.Tensor) -> float:
    """Return the mean loss in nats per token over all whole windows of the ids."""
    windows = (len(ids) - 1) // LONGEST_SEQUENCE
    span = torch.arange(LONGEST_SEQUENCE + 1, device=ids.device)
    starts = LONGEST_SEQUENCE * torch.arange(windows, device=ids.device)
    losses = [
        loss_of(model, ids[chosen[:, None] + span].long()) * len(chosen) for chosen in torch.split(starts, 32)
    ]
    return float(torch.stack(losses).sum()) / windows
