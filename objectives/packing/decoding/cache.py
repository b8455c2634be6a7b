"""The key-value cache of decoding, and the attention layouts that write and read it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from loratory.objectives.packing.attention import AttentionCall, SequenceLayout
from loratory.objectives.packing.decoding.pages import PAGE, pages_for
from loratory.objectives.packing.kernels.selection import cached_attention_for


class CacheSizes(NamedTuple):
    """The sizes of a model's keys and values per token.

    Attributes:
        layers: number of attention layers.
        key_heads: number of heads of keys and values.
        width: elements per head.
    """

    layers: int
    key_heads: int
    width: int

    @classmethod
    def of(cls, model_config: Any) -> "CacheSizes":
        """Read the sizes from a transformers configuration."""
        config = model_config.get_text_config()
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            key_heads=getattr(config, "num_key_value_heads", None) or heads,
            width=getattr(config, "head_dim", None) or config.hidden_size // heads,
        )


def why_not_cached(model_config: Any, calls: Sequence[AttentionCall]) -> str | None:
    """Return the reason why a `KeyValueCache` cannot hold what attention layers ask for; None if it can.

    Args:
        model_config: a transformers configuration.
        calls: of all attention layers in one pass.
    """
    if not calls:
        return (
            "its attention layers do not call transformers' attention interface, so they see no other cache"
        )
    try:
        sizes = CacheSizes.of(model_config)
    except Exception as error:  # transformers has errors of its own for sizes that differ between layers
        return f"its configuration tells no one size of keys and values ({type(error).__name__})"
    for call in calls:
        shape = (sizes.key_heads, sizes.width)
        if call.key.shape[1:] != shape or call.value.shape[1:] != shape:
            keys, values = ("{} heads x {}".format(*x.shape[1:]) for x in (call.key, call.value))
            return (
                f"keys of layer {call.layer} are {keys} and its values {values}, where the cache "
                "has {} heads x {} for both".format(*shape)
            )
    if sorted(call.layer for call in calls) != [*range(sizes.layers)]:
        return (
            f"of its {sizes.layers} layers {len({call.layer for call in calls})} attend, in {len(calls)} "
            "calls of attention: the cache has no place for the state of other layers, or of repeated calls"
        )
    return None


def rows_that_fit(
    model_config: Any, *, positions: int, dtype: torch.dtype, bytes: int, step: int = 16
) -> int:
    """Return how many rows of any length fit into a size: a multiple of `step`, and at least `step`.

    Args:
        model_config: a transformers configuration.
        positions: positions of the longest row, see `decoder.cache_positions`.
        dtype: of keys and values.
        bytes: limit on the size of the cache.
        step: rows per block.
    """
    sizes = CacheSizes.of(model_config)
    page = 2 * sizes.layers * PAGE * sizes.key_heads * sizes.width * torch.finfo(dtype).bits // 8
    rows = (bytes // page - 1) // pages_for(positions)  # one more page takes the padding
    return max(step, rows // step * step)


class KeyValueCache:
    """Keys and values of tokens in pages, in tensors that never move.

    Attributes:
        pages: N.
        keys: per attention layer, [N + 1, PAGE, key heads, width]; padding is written to the last page.
        values: like `keys`.
    """

    def __init__(self, model_config: Any, *, pages: int, device: torch.device, dtype: torch.dtype) -> None:
        """Allocate a cache of zeros.

        Args:
            model_config: a transformers configuration.
            pages: N.
            device: of the base.
            dtype: compute dtype of the base.
        """
        self.pages = pages
        layers, key_heads, width = CacheSizes.of(model_config)
        shape = (pages + 1, PAGE, key_heads, width)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]

    @property
    def padding_place(self) -> int:
        """The place to which padding is written; no answer depends on it."""
        return self.pages * PAGE

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor, places: torch.Tensor) -> None:
        """Store the keys and values of some tokens.

        Args:
            layer: index of the attention layer.
            key: [T, key heads, width].
            value: [T, key heads, width].
            places: int64 [T], page x PAGE + offset of each token.
        """
        keys, values = self.keys[layer], self.values[layer]
        self._check(key, value)
        cached_attention_for(keys.device, keys.dtype).store(keys, values, key, value, places)

    def attend(self, call: AttentionCall, lengths: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Store the keys and values of one new token per row, then attend over each row: [M, heads, width].

        Args:
            call: of an attention layer, with one token per row.
            lengths: int32 [M], the position of each new token.
            table: int32 [M, P], the pages of each row.
        """
        keys, values = self.keys[call.layer], self.values[call.layer]
        self._check(call.key, call.value)
        kernels = cached_attention_for(keys.device, keys.dtype)
        return kernels.attend(call, keys, values, lengths, table)  # type: ignore[no-any-return]

    def _check(self, *given: torch.Tensor) -> None:
        """Refuse keys or values of other sizes, which a kernel would write past the end of the cache.

        Raises:
            ValueError: the number of heads or their width is another.
        """
        size = self.keys[0].shape[2:]
        for tensor in given:
            if tensor.shape[1:] != size:
                raise ValueError(
                    f"cache: keys and values must have {size[0]} heads x {size[1]}, got "
                    f"{tensor.shape[1]} x {tensor.shape[2]}"
                )


@dataclass(frozen=True)
class PrefillLayout:
    """The layout of a pass over whole prompts, which also stores their keys and values.

    Attributes:
        inner: the layout of the prompts.
        cache: where keys and values are stored.
        places: int64 [T], the place of each token in the cache; `KeyValueCache.padding_place` for padding.
    """

    inner: SequenceLayout
    cache: KeyValueCache
    places: torch.Tensor

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Store keys and values, then attend, see `SequenceLayout`."""
        self.cache.write(call.layer, call.key, call.value, self.places)
        return self.inner.attend(call)


@dataclass(frozen=True)
class DecodeLayout:
    """The layout of a decoding step: one new token for each of M rows.

    Attributes:
        cache: keys and values of the rows' earlier tokens; those of the new tokens are added.
        lengths: int32 [M], number of earlier tokens of each row: the position of the new one.
        table: int32 [M, P], the pages of each row, see `pages.PageTable`.
    """

    cache: KeyValueCache
    lengths: torch.Tensor
    table: torch.Tensor

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Store keys and values, then attend, see `SequenceLayout`; here T is M."""
        return self.cache.attend(call, self.lengths, self.table)
