"""LoRA adapters as PEFT defines them: configuration, initial values and the two files (Hu et al., 2021)."""

import json
import tempfile
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from loratory.objectives.events import AdapterFiles
from loratory.objectives.packing.stack import FILE_PREFIX, AdapterState
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from loratory.spaces.errors import LoratoryError
from loratory.spaces.training import TrainingParameters

_NAME = "adapter"

# PEFT draws initial values from the one generator of the process, and adapters are made in threads.
_drawing = threading.Lock()

Layers = Mapping[str, tuple[int, int]]
"""Full names of linear layers to (inputs, outputs)."""


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter apart from any base.

    Attributes:
        config: a `peft.LoraConfig`.
        scaling: LoRA's factor, as PEFT computes it from the configuration.
        state: its matrices, fp32 on the CPU.
    """

    config: Any
    scaling: float
    state: AdapterState

    def files(self, state: AdapterState, *, base_name: str | None, revision: str | None) -> AdapterFiles:
        """PEFT's two files for matrices of this adapter; the same bytes for the same matrices.

        Args:
            state: matrices by this adapter's names.
            base_name: what the configuration names as the base; never a local path.
            revision: commit of that base, where it is known.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.config.save_pretrained(folder)
            config = json.loads((Path(folder) / ADAPTER_CONFIG).read_text(encoding="utf-8"))
        config |= {
            "base_model_name_or_path": base_name,
            "revision": revision,
            "target_modules": sorted(config["target_modules"]),
            "inference_mode": True,
        }
        return {
            ADAPTER_WEIGHTS: safetensors.torch.save(state, metadata={"format": "pt"}),
            ADAPTER_CONFIG: json.dumps(config, indent=2, sort_keys=True).encode(),
        }


def new_adapter(
    layers: Layers, *, training: TrainingParameters, targets: tuple[str, ...], seed: int
) -> Adapter:
    """A fresh adapter with PEFT's initial values: A uniform (Kaiming) from the seed, B zero.

    Args:
        layers: the base's.
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
    return _injected(layers, config, seed=seed)


def adapter_from_files(layers: Layers, files: AdapterFiles) -> Adapter:
    """An adapter from PEFT's two files.

    Raises:
        LoratoryError: the matrices are not those that the configuration asks for on this base.
    """
    from peft import LoraConfig

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ADAPTER_CONFIG).write_bytes(files[ADAPTER_CONFIG])
        config = LoraConfig.from_pretrained(folder)
    adapter = _injected(layers, config, seed=0)  # the values it draws are not used
    state = safetensors.torch.load(files[ADAPTER_WEIGHTS])
    shapes = {path: tuple(tensor.shape) for path, tensor in adapter.state.items()}
    if {path: tuple(tensor.shape) for path, tensor in state.items()} != shapes:
        raise LoratoryError(
            f"adapter must have the {len(shapes)} matrices that its configuration asks for on this "
            f"base, got {len(state)} of other names or shapes"
        )
    return Adapter(config=config, scaling=adapter.scaling, state=state)


def _injected(layers: Layers, config: Any, *, seed: int) -> Adapter:
    """What PEFT makes of a configuration on layers like the base's."""
    from peft.functional import inject_adapter_in_model

    skeleton = _skeleton(layers)
    # Nobody else's draws may depend on when a trial starts, on no device.
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(config, skeleton, _NAME)
    layers_of_peft: list[Any] = [module for module in skeleton.modules() if hasattr(module, "lora_A")]
    scaling = float(layers_of_peft[0].scaling[_NAME])  # one configuration: all alike
    marks = (f".lora_A.{_NAME}.", f".lora_B.{_NAME}.")
    state = {
        FILE_PREFIX + path.replace(f".{_NAME}.", "."): parameter.detach()
        for path, parameter in skeleton.named_parameters()
        if any(mark in path for mark in marks)
    }
    return Adapter(config=config, scaling=scaling, state=state)


def _skeleton(layers: Layers) -> nn.Module:
    """Modules of the base's names and sizes whose weights take no memory."""
    root = nn.Module()
    for name, (inputs, outputs) in layers.items():
        *parents, leaf = name.split(".")
        module = root
        for parent in parents:
            if not hasattr(module, parent):
                module.add_module(parent, nn.Module())
            module = getattr(module, parent)
        linear = nn.Linear(inputs, outputs, bias=False, device="meta")
        linear.weight = nn.Parameter(torch.zeros(()).expand(outputs, inputs), requires_grad=False)
        module.add_module(leaf, linear)
    return root
