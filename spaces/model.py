"""The base model and the precision of training."""

from enum import StrEnum
from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from loratory.spaces.frozen import Frozen
from loratory.spaces.rules import broken_rule, shown

QUICKSTART_BASE = "builtin:quickstart"


class ComputeDtype(StrEnum):
    """Number format of activations and matrix products."""

    AUTO = "auto"
    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


class Quantization(StrEnum):
    """Number format of the frozen linear layers."""

    NF4 = "nf4"
    NONE = "none"


class ModelSpec(Frozen):
    """A causal language model that stays frozen while adapters train on it."""

    base: str = Field(min_length=1)
    """Hub id, local folder, or `builtin:quickstart` for the small model that comes with loratory."""
    revision: str | None = None
    """Branch, tag or commit of the Hub id; pin it, so that all workers and reruns use the same model."""
    hub_id: str | None = None
    """Hub id that a published adapter names as its base, if `base` is a folder."""
    compute_dtype: ComputeDtype = ComputeDtype.AUTO
    """auto is bf16 on a GPU that supports it, fp16 on other GPUs, fp32 on a CPU."""
    quantization: Quantization = Quantization.NF4
    """nf4 keeps the base's linear layers in 4 bits (QLoRA); none keeps them in the compute dtype (LoRA)."""
    double_quantization: bool = True
    """Quantise the quantisation constants of nf4 too (QLoRA, section 3)."""
    gradient_checkpointing: bool | Literal["auto"] = "auto"
    """Recompute activations in the backward pass: less memory, more time. auto: where memory is short."""
    trust_remote_code: bool = False
    """Run model code that comes with the base. Set this only after reading that code."""
    allow_unquantized_experts: bool = False
    """Accept a mixture-of-experts base even if nf4 and LoRA skip its experts: they stay in the compute dtype,
    and only the other layers get adapters."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.quantization is Quantization.NONE and "double_quantization" in self.model_fields_set:
            rule = (
                "must be left out with model.quantization none, which has no constants to quantise, "
                f"got {shown(self.double_quantization)}"
            )
            raise broken_rule(rule, at=("double_quantization",))
        return self

    @model_serializer(mode="wrap")
    def _without_contradictions(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # A file written from this spec must be readable as a study file.
        written: dict[str, Any] = handler(self)
        if self.quantization is Quantization.NONE:
            written.pop("double_quantization", None)
        return written
