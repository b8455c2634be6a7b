"""The base in nf4 by bitsandbytes (QLoRA; Dettmers et al., 2023).

Libraries are imported inside functions, since model cards are written without them.
"""

from typing import TYPE_CHECKING, Any

from loratory.objectives.qlora.base.formats.base_format import BaseFormat, FormatWords, LoadingCode
from loratory.spaces.model import ModelSpec

if TYPE_CHECKING:
    import torch

    from loratory.objectives.packing.linear import FrozenWeight

# An fp32 constant per 64 weights; double quantisation stores it in 8 bits, with fp32 per 256 constants.
_BLOCK, _BLOCKS_TOGETHER = 64, 256


def _loading_code(model: ModelSpec) -> LoadingCode:
    return LoadingCode(
        imports=("BitsAndBytesConfig",),
        setup=f"""nf4 = BitsAndBytesConfig(
    load_in_4bit=True,
    bnb_4bit_quant_type="nf4",
    bnb_4bit_use_double_quant={model.double_quantization},
    bnb_4bit_compute_dtype=dtype,
)
""",
        argument="quantization_config=nf4, ",
    )


def _loading_options(model: ModelSpec, dtype: "torch.dtype") -> dict[str, Any]:
    from transformers import BitsAndBytesConfig

    return {
        "quantization_config": BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=model.double_quantization,
            bnb_4bit_compute_dtype=dtype,
        )
    }


def keep_weights_in_place(model: Any) -> None:
    """Forbid bitsandbytes to repack 4-bit weights for the CPU's bf16 instructions.

    bitsandbytes repacks in place in the first evaluation pass. Repacked weights have a wrong backward pass,
    so every later gradient would be wrong.
    """
    import bitsandbytes

    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            module.support_avx512bf16_for_cpu = False


def _frozen_weight(linear: Any, dtype: "torch.dtype") -> "FrozenWeight":
    from bitsandbytes.functional import dequantize_4bit

    from loratory.objectives.packing.linear import FrozenWeight

    weight = linear.weight
    state = getattr(weight, "quant_state", None)
    if state is None:  # a layer that bitsandbytes skips
        return FrozenWeight.dense(linear, dtype)
    return FrozenWeight(
        lambda: dequantize_4bit(weight.data, state).to(dtype), linear.in_features, linear.out_features
    )


def _bytes_per_weight(model: ModelSpec, _: int) -> float:
    constant = 1 + 4 / _BLOCKS_TOGETHER if model.double_quantization else 4
    return 0.5 + constant / _BLOCK


NF4 = BaseFormat(
    words=FormatWords(
        method="QLoRA",
        tags=("qlora",),
        reach="nf4 and LoRA reach",
        passed_over="neither quantised nor adapted",
        scored_on="It was trained and scored on the base in 4 bits (nf4), as above; on the base in full "
        "precision its answers\ndiffer a little.",
    ),
    packages=("bitsandbytes",),
    loading_code=_loading_code,
    loading_options=_loading_options,
    prepare=keep_weights_in_place,
    frozen_weight=_frozen_weight,
    bytes_per_weight=_bytes_per_weight,
)
