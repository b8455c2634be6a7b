"""LoRA adapters as PEFT defines them: configuration, initial values and the two files (Hu et al., 2021)."""

import json
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from loratory.objectives.events import AdapterFiles
from loratory.objectives.packing.stack import AdapterState
from loratory.objectives.qlora.adapters.injection import inject
from loratory.objectives.qlora.adapters.methods import AdapterMethod, method_of
from loratory.objectives.qlora.base.names import Layers, matching
from loratory.objectives.study_folder import ADAPTER_CONFIG, ADAPTER_WEIGHTS
from loratory.spaces.errors import LoratoryError
from loratory.spaces.training import TrainingParameters


@dataclass(frozen=True, kw_only=True)
class Adapter:
    """An adapter, independent of a loaded base.

    Attributes:
        config: a `peft.LoraConfig`.
        scaling: LoRA's factor, as PEFT computes it from the configuration.
        state: matrices by name, fp32 on the CPU.
    """

    config: Any
    scaling: float
    state: AdapterState

    def files(self, state: AdapterState, *, base_name: str | None, revision: str | None) -> AdapterFiles:
        """Return PEFT's two files for matrices of this adapter; equal matrices give equal bytes.

        Args:
            state: matrices by the names of this adapter.
            base_name: name of the base in the configuration; never a local path.
            revision: commit of that base; None if unknown.
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
    layers: Layers,
    *,
    training: TrainingParameters,
    targets: tuple[str, ...],
    seed: int,
    auto_mapping: Mapping[str, str] | None = None,
) -> Adapter:
    """Return a new adapter with PEFT's initial values: A uniform (Kaiming) from the seed, B zero.

    PEFT makes the first two layers too, as a check: if it draws other values, PEFT makes all layers.

    Args:
        layers: layers of the base.
        training: gives method, rank, scaling and dropout.
        targets: names of the layers that get matrices.
        seed: decides the initial values, which are drawn on the CPU and so equal on every device.
        auto_mapping: class of the base, for PEFT's configuration; None if `AutoModelForCausalLM` loads it.
    """
    method, adapted = method_of(training), matching(layers, targets)
    config = _configuration(training, method, targets, auto_mapping)
    first = dict(islice(adapted.items(), 2))
    theirs = inject(first, config, seed=seed)
    if _equal(method.initial_values(first, training.rank, seed), theirs.state):
        state = method.initial_values(adapted, training.rank, seed)
    else:
        warnings.warn("PEFT draws initial values in a new way: it makes each adapter, slower", stacklevel=2)
        theirs = inject(layers, config, seed=seed)
        state = theirs.state
    return Adapter(config=config, scaling=theirs.scaling, state=state)


def _configuration(
    training: TrainingParameters,
    method: AdapterMethod,
    targets: tuple[str, ...],
    auto_mapping: Mapping[str, str] | None,
) -> Any:
    from peft import LoraConfig

    alpha = training.lora_alpha
    return LoraConfig(
        task_type="CAUSAL_LM",
        r=training.rank,
        lora_alpha=int(alpha) if alpha == int(alpha) else alpha,
        lora_dropout=training.dropout,
        target_modules=list(targets),
        bias="none",
        auto_mapping=None if auto_mapping is None else dict(auto_mapping),
        **method.peft_options,
    )


def _equal(ours: AdapterState, theirs: AdapterState) -> bool:
    """Return True if names, order and values of matrices are equal, bit for bit."""
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def adapter_from_files(layers: Layers, files: AdapterFiles) -> Adapter:
    """Read an adapter from PEFT's two files.

    Raises:
        LoratoryError: the matrices differ from those that the configuration requires on this base.
    """
    from peft import LoraConfig

    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / ADAPTER_CONFIG).write_bytes(files[ADAPTER_CONFIG])
        config = LoraConfig.from_pretrained(folder)
    injected = inject(layers, config, seed=0)  # the drawn values are not used
    state = safetensors.torch.load(files[ADAPTER_WEIGHTS])
    shapes = {path: tuple(tensor.shape) for path, tensor in injected.state.items()}
    if {path: tuple(tensor.shape) for path, tensor in state.items()} != shapes:
        raise LoratoryError(
            f"adapter must have the {len(shapes)} matrices that its configuration asks for on this "
            f"base, got {len(state)} of other names or shapes"
        )
    return Adapter(config=config, scaling=injected.scaling, state=state)
