"""What PEFT makes of an adapter's configuration, on modules like the base's that take no memory."""

import copy
import threading
from typing import Any, NamedTuple

import torch
from torch import nn

from loratory.objectives.packing.stack import FILE_PREFIX, AdapterState
from loratory.objectives.qlora.base.architecture import Layers

_NAME = "loratory"

# PEFT draws initial values from the one generator of the process, and adapters are made in threads.
_drawing = threading.Lock()


class Injected(NamedTuple):
    """What PEFT made.

    Attributes:
        scaling: LoRA's factor.
        state: the matrices, fp32 on the CPU.
    """

    scaling: float
    state: AdapterState


def inject(layers: Layers, config: Any, *, seed: int) -> Injected:
    """Let PEFT put an adapter on layers like the base's.

    Args:
        layers: of the base, all or some.
        config: a `peft.LoraConfig`, which stays as it is: PEFT shortens a long list of targets in its copy.
        seed: decides the initial values, drawn on the CPU and so the same on every device.
    """
    from peft.functional import inject_adapter_in_model

    skeleton = _skeleton(layers)
    # Nobody else's draws may depend on when a trial starts, on no device.
    with _drawing, torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        inject_adapter_in_model(copy.copy(config), skeleton, _NAME)
    layers_of_peft: list[Any] = [module for module in skeleton.modules() if hasattr(module, "lora_A")]
    end = f".{_NAME}.weight"  # of all that PEFT adds, whatever the method
    state = {
        f"{FILE_PREFIX}{path.removesuffix(end)}.weight": parameter.detach()
        for path, parameter in skeleton.named_parameters()
        if path.endswith(end)
    }
    return Injected(float(layers_of_peft[0].scaling[_NAME]), state)  # one configuration: all alike


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
