"""The base model and the precision it trains in."""

from enum import StrEnum

from pydantic import Field

from loratory.spaces.frozen import Frozen

QUICKSTART_BASE = "builtin:quickstart"


class ComputeDtype(StrEnum):
    """Number format of activations and matrix products."""

    AUTO = "auto"
    BF16 = "bf16"
    FP16 = "fp16"
    FP32 = "fp32"


class ModelSpec(Frozen):
    """A causal language model that stays frozen in nf4 while adapters train on it."""

    base: str = Field(min_length=1)
    """Hub id, local folder, or `builtin:quickstart` for the small model that comes with loratory."""
    revision: str | None = None
    """Branch, tag or commit of the Hub id; pin it, so that every worker and every rerun sees one model."""
    hub_id: str | None = None
    """What a published adapter names as its base where `base` is a folder."""
    compute_dtype: ComputeDtype = ComputeDtype.AUTO
    """auto is bf16 on a GPU that has it, fp16 on one that has not, fp32 on a CPU."""
    double_quantization: bool = True
    """Quantise the quantisation constants too (QLoRA, section 3)."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, more time."""
    trust_remote_code: bool = False
    """Run model code that comes with the base. Only for a base whose code you have read."""
    allow_unquantized_experts: bool = False
    """Take a mixture-of-experts base all the same where nf4 and LoRA pass over its experts: they stay as they
    are, in the compute dtype, and adapters learn on the other layers alone."""
