"""The base as it is, in the compute dtype (LoRA; Hu et al., 2021).

Libraries are imported inside functions, since model cards are written without them.
"""

from typing import TYPE_CHECKING, Any

from loratory.objectives.qlora.base.formats.base_format import BaseFormat, FormatWords, LoadingCode
from loratory.spaces.model import ModelSpec

if TYPE_CHECKING:
    import torch

    from loratory.objectives.packing.linear import FrozenWeight


def _loading_code(_: ModelSpec) -> LoadingCode:
    return LoadingCode()


def _loading_options(_: ModelSpec, __: "torch.dtype") -> dict[str, Any]:
    return {}


def _prepare(_: Any) -> None:
    """Do nothing: passes read the weights as they were loaded."""


def _frozen_weight(linear: Any, dtype: "torch.dtype") -> "FrozenWeight":
    from loratory.objectives.packing.linear import FrozenWeight

    return FrozenWeight.dense(linear, dtype)


def _bytes_per_weight(_: ModelSpec, compute_bytes: int) -> float:
    return compute_bytes


NONE = BaseFormat(
    words=FormatWords(
        method="LoRA on the unquantised base",
        tags=(),
        reach="LoRA reaches",
        passed_over="not adapted",
        scored_on="It was trained and scored on the unquantised base; on the base "
        "in another\nformat its answers differ a little.",
    ),
    packages=(),
    loading_code=_loading_code,
    loading_options=_loading_options,
    prepare=_prepare,
    frozen_weight=_frozen_weight,
    bytes_per_weight=_bytes_per_weight,
)
