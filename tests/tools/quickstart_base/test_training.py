import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from quickstart_base.corpus import save_ids
from quickstart_base.pretraining import COPIED_FILES, write_base
from quickstart_base.training import (
    Recipe,
    batches,
    build_model,
    learning_rate_factor,
    optimizer_of,
    train,
)

TINY = Recipe(
    tokens=12 * 512,
    batch_size=1,
    learning_rate=1e-2,
    hidden_size=64,
    layers=1,
    heads=2,
    intermediate_size=64,
    compile=False,
)


def _repeating(length: int) -> torch.Tensor:
    return torch.arange(length).remainder(7).to(torch.int16)


def test_windows_overlap_by_one_token_and_each_pass_is_cut_anew() -> None:
    ids = torch.arange(512 * 5, dtype=torch.int16)
    source = batches(ids, batch_size=4, seed=0)
    first, second = next(source), next(source)
    assert first.shape == (4, 513)
    assert first.dtype == torch.int64
    assert torch.equal(first - first[:, :1], torch.arange(513).expand(4, -1))
    assert (first[:, 0] % 512).unique().shape == (1,)
    assert first[0, 0] % 512 != second[0, 0] % 512


def test_the_learning_rate_rises_and_then_falls_to_zero() -> None:
    factors = [learning_rate_factor(step, steps=100, warmup=0.1) for step in range(101)]
    assert factors[0] == pytest.approx(0.1)
    assert max(factors) == factors[9] == factors[10] == 1.0
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == 0.0


def test_only_matrices_are_decayed() -> None:
    model = build_model(TINY)
    decayed, free = optimizer_of(model, TINY).param_groups
    assert {parameter.dim() for parameter in decayed["params"]} == {2}
    assert {parameter.dim() for parameter in free["params"]} == {1}
    assert (decayed["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert len(decayed["params"]) + len(free["params"]) == len(list(model.parameters()))


def test_training_learns_and_the_seed_decides() -> None:
    ids = _repeating(512 * 6)
    losses = [train(TINY, ids, held_out=ids)[1]["held_out_loss"] for _ in range(2)]
    other = train(replace(TINY, seed=1), ids, held_out=ids)[1]["held_out_loss"]
    assert losses[0] == losses[1] != other
    assert losses[0] < 4.0


def test_the_base_is_written_with_its_record(tmp_path: Path) -> None:
    corpus, base = tmp_path / "corpus", tmp_path / "base"
    corpus.mkdir()
    base.mkdir()
    for name in ("train", "heldout"):
        save_ids(_repeating(1100).numpy().astype(np.uint16), corpus / f"{name}.npy.xz")
    for name in COPIED_FILES:
        (corpus / name).write_text("{}")
    write_base(replace(TINY, tokens=512), corpus=corpus, base=base)
    assert json.loads((base / "pretraining.json").read_text())["recipe"]["layers"] == 1
    assert json.loads((base / "config.json").read_text())["dtype"] == "bfloat16"
    assert (base / "model.safetensors").stat().st_mode & 0o777 == 0o644
    assert {path.name for path in base.iterdir()} >= {"generation_config.json", *COPIED_FILES}
