"""Check that PEFT loads the adapters that a study will save, on a model without weights."""

import tempfile
import warnings
from pathlib import Path
from typing import Any

from loratory.objectives.events import AdapterFiles
from loratory.objectives.qlora.adapters.adapter import new_adapter
from loratory.objectives.qlora.base.architecture import Architecture, read_configuration
from loratory.objectives.qlora.base.names import matching
from loratory.objectives.qlora.base.peft_trial import REFUSALS
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.base.skeleton import build_skeleton, in_one_line
from loratory.objectives.records import Check
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

NAME = "adapter_loads"


def check_adapter_loads(study: StudySpec, architecture: Architecture, reference: BaseReference) -> Check:
    """Save an adapter of rank 1 for each choice of target modules, and load it as a user would.

    Args:
        study: gives the choices.
        architecture: the base's layers.
        reference: the base.

    Raises:
        InputError: PEFT refuses an adapter, or places it on other layers than those that train.
    """
    from peft import __version__

    training = study.training.model_copy(update={"rank": 1})
    choices = {
        architecture.targets(choice if isinstance(choice, str) else tuple(choice))
        for choice in study.extremes_of("target_modules")
    }
    model = build_skeleton(read_configuration(reference), reference)
    for targets in sorted(choices):
        adapter = new_adapter(
            architecture.linear_layers,
            training=training,
            targets=targets,
            seed=0,
            auto_mapping=architecture.auto_mapping,
        )
        files = adapter.files(adapter.state, base_name=None, revision=None)
        model = _load(model, files, set(matching(architecture.linear_layers, targets)), architecture.name)
    count = "1 choice" if len(choices) == 1 else f"{len(choices)} choices"
    detail = f"PEFT {__version__} on {architecture.model_class}, {count} of target modules"
    return Check(name=NAME, passed=True, detail=detail)


def _load(model: Any, files: AdapterFiles, layers: set[str], location: str) -> Any:
    """Load an adapter's files with PEFT, compare its layers, and return the model without it."""
    from peft import PeftModel

    with tempfile.TemporaryDirectory() as folder:
        for name, content in files.items():
            (Path(folder) / name).write_bytes(content)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                warnings.simplefilter("error", UserWarning)  # PEFT warns of weights without a place
                # On a GPU, PEFT's default, the driver would keep half a GiB from its workers: a CUDA context.
                adapted = PeftModel.from_pretrained(model, folder, low_cpu_mem_usage=True, torch_device="cpu")
        except (*REFUSALS, RuntimeError, KeyError, UserWarning) as error:
            raise _refusal(location, in_one_line(error)) from error
    base = adapted.get_base_model()
    found = {name for name, module in base.named_modules() if hasattr(module, "lora_A")}
    if found != layers:
        wrong = sorted(found ^ layers)
        raise _refusal(location, f"it adapts {len(found)} layers, not {len(layers)} (first: {wrong[0]})")
    return adapted.unload()


def _refusal(location: str, finding: str) -> InputError:
    return InputError(
        f"model.base: PEFT must load adapters on {location}, does not: {finding}; "
        "name other training.target_modules, or take another base"
    )
