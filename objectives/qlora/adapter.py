"""A LoRA adapter on the resident base: put in, read out, taken away, without reloading anything."""

import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from loratory.objectives.events import AdapterFiles
from loratory.objectives.qlora.base import Base
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from loratory.spaces.errors import LoratoryError
from loratory.spaces.training import TrainingParameters

AdapterState = dict[str, torch.Tensor]
"""LoRA matrices by the names that PEFT's file gives them; fp32, on the CPU."""

_FILE_PREFIX = "base_model.model."  # what PeftModel puts before the base's own module names


class Adapter:
    """The LoRA matrices of one name inside the base (Hu et al., 2021)."""

    def __init__(self, base: Base, name: str, config: Any) -> None:
        """Put an adapter into the base and make it the active one.

        Args:
            base: the resident base.
            name: free on the base; without dots.
            config: a `peft.LoraConfig`.
        """
        from peft.functional import cast_adapter_dtype, inject_adapter_in_model

        self._base, self._name, self._config = base, name, config
        inject_adapter_in_model(config, base.model, name)
        # In mixed precision the matrices that AdamW updates stay in fp32: bf16 loses small updates.
        cast_adapter_dtype(base.model, name)
        # PEFT leaves a record of this adapter on the model, and warns of it when the next one comes.
        del base.model.peft_config
        marks = (f".lora_A.{name}.", f".lora_B.{name}.")
        self.parameters = {
            _FILE_PREFIX + path.replace(f".{name}.", "."): parameter
            for path, parameter in base.model.named_parameters()
            if any(mark in path for mark in marks)
        }

    def state(self) -> AdapterState:
        """A copy of the matrices."""
        return {path: p.detach().to("cpu", copy=True) for path, p in self.parameters.items()}

    @torch.no_grad()
    def load(self, state: Mapping[str, torch.Tensor]) -> None:
        """Overwrite the matrices.

        Raises:
            LoratoryError: names or shapes are not this adapter's.
        """
        shapes = {path: tuple(parameter.shape) for path, parameter in self.parameters.items()}
        if {path: tuple(tensor.shape) for path, tensor in state.items()} != shapes:
            raise LoratoryError(
                f"adapter must have the {len(shapes)} matrices that its configuration asks for on this "
                f"base, got {len(state)} of other names or shapes"
            )
        for path, parameter in self.parameters.items():
            parameter.copy_(state[path])

    def files(self, state: AdapterState) -> AdapterFiles:
        """PEFT's two files for a copy of the matrices; the same bytes for the same copy."""
        with tempfile.TemporaryDirectory() as folder:
            self._config.save_pretrained(folder)
            config = json.loads((Path(folder) / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        config |= {
            "base_model_name_or_path": self._base.published_name,
            "revision": self._base.revision,
            "target_modules": sorted(config["target_modules"]),
            "inference_mode": True,
        }
        return {
            ADAPTER_WEIGHTS: safetensors.torch.save(state, metadata={"format": "pt"}),
            ADAPTER_CONFIG: json.dumps(config, indent=2, sort_keys=True).encode(),
        }

    def remove(self) -> None:
        """Take the adapter out of the base."""
        remove_adapter(self._base, self._name)


def new_adapter(
    base: Base, *, name: str, training: TrainingParameters, targets: tuple[str, ...], seed: int
) -> Adapter:
    """A fresh adapter with PEFT's initial values: A uniform (Kaiming) from the seed, B zero.

    Args:
        base: the resident base.
        name: free on the base.
        training: rank, scaling and dropout.
        targets: names of the layers that get matrices.
        seed: decides the initial values, drawn on the CPU and so the same on every device.
    """
    from peft import LoraConfig

    alpha = training.lora_alpha
    config = LoraConfig(
        task_type="CAUSAL_LM",
        r=training.rank,
        lora_alpha=int(alpha) if alpha == int(alpha) else alpha,
        use_rslora=training.rank_stabilized,
        lora_dropout=training.dropout,
        target_modules=list(targets),
        bias="none",
    )
    torch.manual_seed(seed)
    return Adapter(base, name, config)


def adapter_from_files(base: Base, *, name: str, files: AdapterFiles) -> Adapter:
    """An adapter from PEFT's two files."""
    from peft import LoraConfig

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ADAPTER_CONFIG).write_bytes(files[ADAPTER_CONFIG])
        config = LoraConfig.from_pretrained(folder)
    adapter = Adapter(base, name, config)
    try:
        adapter.load(safetensors.torch.load(files[ADAPTER_WEIGHTS]))
    except BaseException:
        adapter.remove()
        raise
    return adapter


def activate(base: Base, name: str | None) -> None:
    """Let one adapter take part in the forward pass and train, or none."""
    from peft.functional import set_adapter

    set_adapter(base.model, [] if name is None else name)


def remove_adapter(base: Base, name: str) -> None:
    """Take an adapter out of the base, whole or half put in; nothing happens where it is not there."""
    from peft.functional import delete_adapter

    activate(base, None)
    delete_adapter(base.model, name, prefix="lora_")
    if hasattr(base.model, "peft_config"):
        del base.model.peft_config
