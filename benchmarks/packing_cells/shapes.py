"""The model shapes that the benchmark trains, as transformers configurations without weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import loratory.objectives.quickstart as quickstart

_QUICKSTART_BASE = Path(next(iter(quickstart.__path__))) / "base"


@dataclass(frozen=True, kw_only=True)
class ModelShape:
    """The sizes of a Llama or Mistral model.

    Attributes:
        name: on the command line and in tables.
        layers: decoder layers.
        hidden: width of the residual stream.
        intermediate: width inside the feed-forward layers.
        heads: query heads.
        key_value_heads: key and value heads.
        vocabulary: token ids.
        positions: longest sequence.
        tied: the output head is the embedding matrix.
        family: model type of transformers, `llama` or `mistral`.
    """

    name: str
    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    vocabulary: int
    positions: int
    tied: bool = False
    family: str = "llama"

    @property
    def matmul_parameters(self) -> int:
        """Parameters that every token is multiplied with: linear layers and output head."""
        key_value = self.hidden // self.heads * self.key_value_heads
        attention = 2 * self.hidden * (self.hidden + key_value)
        feed_forward = 3 * self.hidden * self.intermediate
        return self.layers * (attention + feed_forward) + self.vocabulary * self.hidden

    def configuration(self) -> Any:
        """A transformers configuration of these sizes; token ids 0 and 1 stand for the end and padding."""
        from transformers import AutoConfig

        return AutoConfig.for_model(
            self.family,
            num_hidden_layers=self.layers,
            hidden_size=self.hidden,
            intermediate_size=self.intermediate,
            num_attention_heads=self.heads,
            num_key_value_heads=self.key_value_heads,
            vocab_size=self.vocabulary,
            max_position_embeddings=self.positions,
            tie_word_embeddings=self.tied,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=1,
            # Mistral's default is the window of its first version.
            **({"sliding_window": None} if self.family == "mistral" else {}),
        )


def _quickstart_shape() -> ModelShape:
    """The sizes of the model that the quickstart tunes."""
    from transformers import LlamaConfig

    config = LlamaConfig.from_pretrained(_QUICKSTART_BASE)
    return ModelShape(
        name="tiny",
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        intermediate=config.intermediate_size,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        vocabulary=config.vocab_size,
        positions=config.max_position_embeddings,
        tied=config.tie_word_embeddings,
    )


SHAPES = {
    shape.name: shape
    for shape in (
        _quickstart_shape(),
        ModelShape(  # TinyLlama-1.1B
            name="1b",
            layers=22,
            hidden=2048,
            intermediate=5632,
            heads=32,
            key_value_heads=4,
            vocabulary=32_000,
            positions=2048,
        ),
        ModelShape(  # Llama-2-7B
            name="7b",
            layers=32,
            hidden=4096,
            intermediate=11_008,
            heads=32,
            key_value_heads=32,
            vocabulary=32_000,
            positions=4096,
        ),
        ModelShape(  # Llama-3.2-1B
            name="llama32-1b",
            layers=16,
            hidden=2048,
            intermediate=8192,
            heads=32,
            key_value_heads=8,
            vocabulary=128_256,
            positions=131_072,
            tied=True,
        ),
        ModelShape(  # Llama-3.1-8B
            name="8b",
            layers=32,
            hidden=4096,
            intermediate=14_336,
            heads=32,
            key_value_heads=8,
            vocabulary=128_256,
            positions=131_072,
        ),
        ModelShape(  # Llama-2-13B
            name="13b",
            layers=40,
            hidden=5120,
            intermediate=13_824,
            heads=40,
            key_value_heads=40,
            vocabulary=32_000,
            positions=4096,
        ),
        ModelShape(  # Mistral-7B-v0.3
            name="mistral-7b",
            layers=32,
            hidden=4096,
            intermediate=14_336,
            heads=32,
            key_value_heads=8,
            vocabulary=32_768,
            positions=32_768,
            family="mistral",
        ),
        ModelShape(  # Llama-2-70B
            name="70b",
            layers=80,
            hidden=8192,
            intermediate=28_672,
            heads=64,
            key_value_heads=8,
            vocabulary=32_000,
            positions=4096,
        ),
    )
}
