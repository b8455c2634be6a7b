"""Scaling and matrices that PEFT makes from a configuration, on modules that take no memory."""

import copy
import threading
from typing import Any, NamedTuple

import torch
from torch import nn

from loratory.objectives.packing.stack import FILE_PREFIX, AdapterState
from loratory.objectives.qlora.base.names import Layers

_NAME = "loratory"

# PEFT draws initial values from the global generator of the process, and several threads make adapters.
_drawing = threading.Lock()


class Injected(NamedTuple):
    """The adapter that PEFT made.

    Attributes:
        scaling: LoRA's factor.
        state: the matrices, fp32 on the CPU.
    """

    scaling: float
    state: AdapterState


def inject(layers: Layers, config: Any, *, seed: int) -> Injected:
    """Let PEFT add an adapter to empty layers with the base's names and sizes.

    Args:
        layers: layers of the base, all or some.
        config: a `peft.LoraConfig`. It is copied, since PEFT shortens a long list of targets in place.
        seed: decides the initial values, which are drawn on the CPU and so equal on every device.
    """
    from peft.functional import inject_adapter_in_model

    skeleton = _skeleton(layers)
    # The start of a trial must not change the random state of other code, on any device.
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(copy.copy(config), skeleton, _NAME)
    layers_of_peft: list[Any] = [module for module in skeleton.modules() if hasattr(module, "lora_A")]
    end = f".{_NAME}.weight"  # suffix of all names that PEFT adds, with any method
    state = {
        f"{FILE_PREFIX}{path.removesuffix(end)}.weight": parameter.detach()
        for path, parameter in skeleton.named_parameters()
        if path.endswith(end)
    }
    return Injected(float(layers_of_peft[0].scaling[_NAME]), state)  # all layers have the same configuration


def _skeleton(layers: Layers) -> nn.Module:
    """Return modules with the base's names and sizes, and with weights that take no memory."""
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
