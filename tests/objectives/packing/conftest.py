import sys
from pathlib import Path

import pytest
import torch

from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.qlora.base.formats import format_of
from loratory.spaces.model import ModelSpec, Quantization

# What several modules of tests share stands in modules beside them.
sys.path.insert(0, str(Path(__file__).parent))

VOCABULARY = 160

KINDS = {
    "llama": {"tie_word_embeddings": False},
    "tied": {"tie_word_embeddings": True},
    "mistral": {"sliding_window": 8},
    "qwen2": {"tie_word_embeddings": False},
    "qwen3": {"head_dim": 32, "tie_word_embeddings": False},
}
"""What each kind of model has that the others have not; `tied` is a Llama."""


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def whole_fp32():
    """Products on a GPU that are not rounded to TF32."""
    torch.set_float32_matmul_precision("highest")


@pytest.fixture(scope="session")
def make_folder(tmp_path_factory):
    """A function: kind of model and changes of its configuration to the folder of a tiny random one."""
    from transformers import AutoConfig, AutoModelForCausalLM

    made = {}

    def make(kind="llama", **changes):
        key = (kind, *sorted(changes.items()))
        if key not in made:
            config = AutoConfig.for_model(
                "llama" if kind == "tied" else kind,
                **{
                    "vocab_size": VOCABULARY,
                    "hidden_size": 64,
                    "intermediate_size": 96,
                    "num_hidden_layers": 2,
                    "num_attention_heads": 4,
                    "num_key_value_heads": 2,
                    "max_position_embeddings": 256,
                    "bos_token_id": None,
                    "eos_token_id": None,
                    "pad_token_id": None,
                    "initializer_range": 0.15,
                    **KINDS[kind],
                    **changes,
                },
            )
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config)
            for name, parameter in model.named_parameters():
                if name.endswith("bias"):
                    torch.nn.init.normal_(parameter, std=0.2)
            made[key] = tmp_path_factory.mktemp(kind)
            model.save_pretrained(made[key])
        return made[key]

    return make


@pytest.fixture(scope="session")
def load_reference(make_folder):
    """A function: kind and changes to the model in a format, frozen, as transformers has it."""
    from transformers import AutoModelForCausalLM

    def load(kind="llama", *, device="cpu", dtype=torch.float32, quantization="nf4", **changes):
        base_format = format_of(Quantization(quantization))
        model = AutoModelForCausalLM.from_pretrained(
            make_folder(kind, **changes),
            dtype=dtype,
            device_map={"": device},
            **base_format.loading_options(ModelSpec(base="x", quantization=quantization), dtype),
        )
        base_format.prepare(model)
        return model.requires_grad_(False).eval()

    return load


@pytest.fixture(scope="session")
def make_packed(load_reference):
    """A function: kind and changes to a `PackedModel` and a reference model, loaded apart."""

    def make(kind="llama", *, device="cpu", dtype=torch.float32, fused=False, quantization="nf4", **changes):
        options = {"device": device, "dtype": dtype, "quantization": quantization}
        model, reference = (load_reference(kind, **options, **changes) for _ in range(2))
        if fused:
            fuse(model)
        packed = PackedModel(
            model,
            linear_names(model),
            device=torch.device(device),
            compute_dtype=dtype,
            frozen_weight=format_of(Quantization(quantization)).frozen_weight,
        )
        return packed, reference

    return make


def linear_names(model):
    """Full names of the linear layers, the output head not among them."""
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]
