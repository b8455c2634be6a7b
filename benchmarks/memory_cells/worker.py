"""A worker over a random base that never was in a file: what `objectives/qlora/kind.build` makes, by hand."""

import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from packing_cells.models import build_model, compute_dtype
from packing_cells.shapes import ModelShape
from packing_cells.study_files import tokenizer

from loratory.objectives.data.prepared import Example, Examples, PreparedData
from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.stack import FILE_PREFIX, AdapterState
from loratory.objectives.qlora.base.architecture import (
    Architecture,
    read_architecture,
    read_configuration,
)
from loratory.objectives.qlora.base.formats.nf4 import NF4
from loratory.objectives.qlora.base.loading import Base, _make_deterministic
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.engine import Engine, build_engine
from loratory.objectives.qlora.memory.admission import Admission
from loratory.objectives.qlora.memory.engine_size import stack_size
from loratory.objectives.qlora.memory.facts import model_facts
from loratory.spaces.study import StudySpec

_POSITIONS = 8192  # longest sequence of every base here; it takes no memory
_SPECIAL = 3  # ids that are no words, see `study_files`


def base_reference(shape: ModelShape, folder: Path) -> BaseReference:
    """Write configuration and tokenizer of a base without weights."""
    folder.mkdir(parents=True, exist_ok=True)
    _long(shape).configuration().save_pretrained(folder)
    tokenizer(shape.vocabulary).save_pretrained(folder)
    return BaseReference(location=str(folder), revision=None, published_name=None, trust_remote_code=False)


def architecture_of(reference: BaseReference) -> Architecture:
    """Return the layers of a base without weights."""
    return read_architecture(reference)


def random_base(shape: ModelShape, *, device: torch.device) -> Base:
    """Build a base in nf4 on the device, every layer a copy of the first; no answer of it ends early."""
    if device.type == "cuda":
        _make_deterministic()  # as the worker does; it decides on algorithms and workspaces
    model = build_model(_long(shape), device=device, repeated=True)
    with torch.no_grad():
        model.get_output_embeddings().weight[:_SPECIAL] = 0.0
    return Base(
        model=model,
        format=NF4,
        tokenizer=tokenizer(shape.vocabulary),
        device=device,
        compute_dtype=compute_dtype(device),
        end_ids=(0,),
        padding_id=1,
    )


def packed_base(base: Base, architecture: Architecture) -> PackedModel:
    """Prepare a base for packs; it is changed in place."""
    fuse(base.model)
    return PackedModel(
        base.model,
        architecture.linear_layers,
        device=base.device,
        compute_dtype=base.compute_dtype,
        frozen_weight=base.format.frozen_weight,
    )


def build_default_engine(
    study: StudySpec, *, base: Base, architecture: Architecture, data: PreparedData, reference: BaseReference
) -> Engine:
    """Build the engine that a worker builds, in the arrangement that it chooses."""
    assert study.model is not None
    stack = stack_size(study, architecture)
    facts = None
    if base.device.type == "cuda":
        facts = model_facts(
            study.model,
            reference,
            read_configuration(reference),
            stack,
            dtype=base.compute_dtype,
            longest=int(data.train.lengths.max()),
        )
    admission = Admission(
        study, data=data, stack=stack, device=base.device, dtype=base.compute_dtype, facts=facts
    )
    return build_engine(study, base=base, architecture=architecture, data=data, admission=admission)


def study_of(
    reference: BaseReference,
    *,
    length: int,
    ranks: tuple[int, ...],
    batch_sizes: tuple[int, ...],
    max_new_tokens: int,
    trials: int,
    **sections: Any,
) -> StudySpec:
    """Return the study file of a worker, with everything else at its default.

    Args:
        reference: the base.
        length: longest example.
        ranks: that are searched.
        batch_sizes: that are searched.
        max_new_tokens: longest answer.
        trials: number of trials.
        sections: further sections, such as `packing`.
    """
    model = {"base": reference.location, **sections.pop("model", {})}
    return StudySpec.model_validate(
        {
            "name": "memory",
            "metric": "loss",
            "trials": trials,
            "space": {
                "learning_rate": [1e-4, 3e-4],
                "rank": list(ranks),
                "batch_size": list(batch_sizes),
            },
            "model": model,
            "data": {"train": "unused.jsonl", "max_length": length},
            "evaluation": {"max_new_tokens": max_new_tokens, "metrics": ["exact_match"]},
            **sections,
        }
    )


def random_data(
    shape: ModelShape, *, length: int, prompt_tokens: int, train: int, scored: int
) -> PreparedData:
    """Return splits of random examples, all of one length; dev and select have `scored` each."""
    parts = [
        Examples.of(_examples(shape, name, count, length=length, prompt_tokens=prompt_tokens))
        for name, count in (("train", train), ("dev", scored), ("select", scored), ("test", 0))
    ]
    names = ("train", "dev", "select", "test")
    return PreparedData(**dict(zip(names, parts, strict=True)), labels=(), sha256="0" * 64)


def host_adapter(layers: dict[str, tuple[int, int]], *, rank: int) -> AdapterState:
    """Return an adapter on the host; matrices of one size are one tensor, which takes no time to draw."""
    made: dict[tuple[int, int], torch.Tensor] = {}

    def matrix(rows: int, columns: int) -> torch.Tensor:
        if (rows, columns) not in made:
            made[rows, columns] = torch.randn(rows, columns) * 0.01
        return made[rows, columns]

    state: AdapterState = {}
    for name, (inputs, outputs) in layers.items():
        state[f"{FILE_PREFIX}{name}.lora_A.weight"] = matrix(rank, inputs)
        state[f"{FILE_PREFIX}{name}.lora_B.weight"] = matrix(outputs, rank)
    return state


def _long(shape: ModelShape) -> ModelShape:
    return replace(shape, positions=max(_POSITIONS, shape.positions))


def _examples(shape: ModelShape, split: str, count: int, *, length: int, prompt_tokens: int) -> list[Example]:
    draw = random.Random(split)
    examples = []
    for number in range(count):
        ids = tuple(draw.choices(range(_SPECIAL, shape.vocabulary), k=length))
        name = f"{split}-{number}"
        examples.append(
            Example(
                example_id=name,
                group=name,
                prompt="",
                reference="",
                prompt_ids=ids[:prompt_tokens],
                answer_ids=ids[prompt_tokens:],
            )
        )
    return examples
