"""Train the quickstart's base from scratch on the ids that `loratory.objectives.quickstart.corpus` wrote.

    python -m loratory.objectives.quickstart.pretraining FOLDER BASE [--tokens 1_500_000_000]

FOLDER is the corpus's, BASE the folder of the model to write. A CUDA GPU trains a billion tokens in minutes; the
CPU takes days, and is for trying the code (``--tokens 100_000 --batch-size 8 --no-compile``).
"""

import argparse
import json
import platform
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
import transformers
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM

from loratory.objectives.quickstart.corpus import load_ids
from loratory.objectives.quickstart.tokenization import LONGEST_SEQUENCE, VOCABULARY_SIZE

COPIED_FILES = ("tokenizer.json", "tokenizer_config.json", "corpus.json.gz")


@dataclass(frozen=True)
class Recipe:
    """How the base is trained."""

    tokens: int = 1_500_000_000
    """Tokens seen in all; the corpus is repeated, cut at another place each time."""
    batch_size: int = 256
    """Sequences of 512 tokens per step."""
    learning_rate: float = 6e-3
    """The highest; reached after the warm-up, then down to zero on a line."""
    warmup: float = 0.02
    """The share of the steps that the learning rate takes to rise."""
    weight_decay: float = 0.1
    """AdamW's, on matrices only."""
    hidden_size: int = 192
    """The model's width; a multiple of 64, nf4's block."""
    layers: int = 4
    """The number of decoder layers."""
    heads: int = 6
    """The number of attention heads."""
    intermediate_size: int = 512
    """The width within an MLP."""
    seed: int = 0
    """Of the initial weights and the order of the data."""
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
    """Return the mean negative log likelihood in nats per token; batch is int64, shape (sequences, tokens + 1)."""
    with torch.autocast(batch.device.type, torch.bfloat16):
        logits = model(input_ids=batch[:, :-1], use_cache=False).logits
    return functional.cross_entropy(logits.flatten(0, 1).float(), batch[:, 1:].flatten())


def batches(ids: torch.Tensor, *, batch_size: int, seed: int) -> Iterator[torch.Tensor]:
    """Yield batches for ever, int64, shape (batch_size, 513): windows in random order, each pass cut elsewhere."""
    generator = torch.Generator().manual_seed(seed)
    span = torch.arange(LONGEST_SEQUENCE + 1, device=ids.device)
    while True:
        shift = int(torch.randint(LONGEST_SEQUENCE, (1,), generator=generator))
        windows = (len(ids) - shift - 1) // LONGEST_SEQUENCE
        starts = shift + LONGEST_SEQUENCE * torch.randperm(windows, generator=generator).to(ids.device)
        for chosen in starts.split(batch_size)[: max(1, windows // batch_size)]:
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
    """Return the share of the highest learning rate at a step: a linear rise, then a line down to zero.

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
    began = time.monotonic()
    for step, batch in zip(
        range(steps), batches(ids, batch_size=recipe.batch_size, seed=recipe.seed), strict=False
    ):
        factor = learning_rate_factor(step, steps=steps, warmup=recipe.warmup)
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate * factor
        loss = step_loss(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        if step % max(1, steps // 20) == 0 or step == steps - 1:
            print(
                f"step {step}/{steps} loss {loss.item():.4f} seconds {time.monotonic() - began:.1f}",
                flush=True,
            )
    return model, {
        "seconds": round(time.monotonic() - began, 1),
        "train_loss": round(loss.item(), 4),
        "held_out_loss": round(evaluate(model, held_out), 4),
    }


@torch.no_grad()
def evaluate(model: torch.nn.Module, ids: torch.Tensor) -> float:
    """Return the mean loss in nats per token over all whole windows of ids."""
    windows = (len(ids) - 1) // LONGEST_SEQUENCE
    span = torch.arange(LONGEST_SEQUENCE + 1, device=ids.device)
    starts = LONGEST_SEQUENCE * torch.arange(windows, device=ids.device)
    losses = [loss_of(model, ids[chosen[:, None] + span].long()) * len(chosen) for chosen in starts.split(32)]
    return float(torch.stack(losses).sum()) / windows


def write_base(recipe: Recipe, *, corpus: Path, base: Path) -> None:
    """Train on the corpus in a folder and write the model, its tokenizer and a record of the run."""
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    ids, held_out = (
        torch.from_numpy(load_ids(corpus / f"{name}.npy.xz").astype("int16")).to(device)
        for name in ("train", "heldout")
    )
    model, measured = train(recipe, ids, held_out=held_out)
    model.to(torch.bfloat16).save_pretrained(base)
    # It is written for its owner alone, and a wheel would hand that on.
    (base / "model.safetensors").chmod(0o644)
    for name in COPIED_FILES:
        shutil.copy(corpus / name, base / name)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    record = {
        "recipe": asdict(recipe),
        "corpus_tokens": len(ids),
        "parameters": model.num_parameters(),
        "measured": measured,
        "versions": versions | {"transformers": transformers.__version__},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }
    (base / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record), flush=True)


def main() -> None:
    """Run the command."""
    default = Recipe()
    parser = argparse.ArgumentParser(description="Train the quickstart's base.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("base", type=Path)
    for name, value in asdict(default).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=value)
        else:
            parser.add_argument(flag, type=type(value), default=value)
    arguments = vars(parser.parse_args())
    corpus, base = arguments.pop("corpus"), arguments.pop("base")
    write_base(replace(default, **arguments), corpus=corpus, base=base)


if __name__ == "__main__":
    main()
