"""The architectures of the matrix, with what makes each of them tiny."""

from dataclasses import dataclass, field
from typing import Any

SIZES: dict[str, Any] = {
    "vocab_size": 160,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "bos_token_id": None,
    "eos_token_id": 1,
    "pad_token_id": 0,
}


@dataclass(frozen=True)
class Architecture:
    """One row of the matrix.

    Attributes:
        own: settings of its configuration besides `SIZES`.
        model_type: name in transformers, where it differs from that of the row.
        model: settings of the study's model section.
    """

    own: dict[str, Any] = field(default_factory=dict)
    model_type: str = ""
    model: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> dict[str, Any]:
        """Settings of its configuration."""
        return SIZES | self.own


ARCHITECTURES: dict[str, Architecture] = {}
