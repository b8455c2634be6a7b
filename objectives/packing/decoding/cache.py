"""Attention of decoding: keys and values of earlier tokens are kept, and each row asks with one new token."""

import importlib.util
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import nn

from loratory.objectives.packing.attention import AttentionCall, SequenceLayout


class CacheSizes(NamedTuple):
    """What a model keeps of each token.

    Attributes:
        layers: attention layers.
        key_heads: heads of keys and values.
        width: numbers a head.
    """

    layers: int
    key_heads: int
    width: int

    @classmethod
    def of(cls, model_config: Any) -> "CacheSizes":
        """Read from a transformers configuration."""
        config = model_config.get_text_config()
        heads = config.num_attention_heads
        return cls(
            layers=config.num_hidden_layers,
            key_heads=getattr(config, "num_key_value_heads", None) or heads,
            width=getattr(config, "head_dim", None) or config.hidden_size // heads,
        )


def rows_that_fit(
    model_config: Any, *, positions: int, dtype: torch.dtype, bytes: int, step: int = 16
) -> int:
    """How many rows a `KeyValueCache` of some size has: a multiple of `step`, and at least that.

    Args:
        model_config: of transformers.
        positions: of each row, see `decoding.cache_positions`.
        dtype: of keys and values.
        bytes: that the cache may take.
        step: rows of a block.
    """
    sizes = CacheSizes.of(model_config)
    numbers = 2 * sizes.layers * positions * sizes.key_heads * sizes.width
    rows = bytes // (numbers * torch.finfo(dtype).bits // 8) - 1  # one is the dump
    return max(step, rows // step * step)


class KeyValueCache:
    """Keys and values of rows of tokens, in tensors that never move.

    Attributes:
        rows: M.
        positions: P, the longest that a row may become.
        keys: of each attention layer, [M + 1, P, key heads, width]; padding is written to the last row.
        values: as keys.
    """

    def __init__(
        self, model_config: Any, *, rows: int, positions: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        """Allocate a cache.

        Args:
            model_config: of transformers.
            rows: M.
            positions: P.
            device: where the base is.
            dtype: the base's compute dtype.
        """
        self.rows, self.positions = rows, positions
        layers, key_heads, width = CacheSizes.of(model_config)
        shape = (rows + 1, positions, key_heads, width)
        self.keys = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]
        self.values = [torch.zeros(shape, dtype=dtype, device=device) for _ in range(layers)]

    @property
    def dump(self) -> int:
        """A place that is never read."""
        return self.rows * self.positions

    def write(self, layer: int, key: torch.Tensor, value: torch.Tensor, places: torch.Tensor) -> None:
        """Keep the keys and values of some tokens.

        Args:
            layer: number of the attention layer.
            key: [T, key heads, width].
            value: [T, key heads, width].
            places: int64 [T], row x P + position of each.
        """
        keys, values = self.keys[layer], self.values[layer]
        if has_kernels(keys.device, keys.dtype):
            from loratory.objectives.packing.kernels import cached_attention_triton

            cached_attention_triton.store(keys, values, key, value, places)
            return
        keys.flatten(0, 1).index_copy_(0, places, key.to(keys.dtype))
        values.flatten(0, 1).index_copy_(0, places, value.to(values.dtype))


@dataclass(frozen=True)
class PrefillLayout:
    """The layout of a pass over whole prompts that also keeps their keys and values.

    Attributes:
        inner: which tokens see which.
        cache: where keys and values are kept.
        places: int64 [T], the place of each token there; `KeyValueCache.dump` for padding.
    """

    inner: SequenceLayout
    cache: KeyValueCache
    places: torch.Tensor

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """See `SequenceLayout`."""
        self.cache.write(call.layer, call.key, call.value, self.places)
        return self.inner.attend(call)


@dataclass(frozen=True)
class DecodeLayout:
    """One new token for each of the first M rows of a cache.

    Attributes:
        cache: keys and values of the rows' earlier tokens; those of the new ones are added.
        lengths: int32 [M], how many earlier tokens each row has: the position of the new one.
    """

    cache: KeyValueCache
    lengths: torch.Tensor

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """See `SequenceLayout`; here T is M."""
        keys, values = self.cache.keys[call.layer], self.cache.values[call.layer]
        if has_kernels(keys.device, keys.dtype):
            from loratory.objectives.packing.kernels import cached_attention_triton

            return cached_attention_triton.attend(call, keys, values, self.lengths)
        rows = torch.arange(len(self.lengths), device=keys.device)
        self.cache.write(call.layer, call.key, call.value, rows * self.cache.positions + self.lengths)
        return attend_cached(call, keys, values, self.lengths)


def attend_cached(
    call: AttentionCall, keys: torch.Tensor, values: torch.Tensor, lengths: torch.Tensor
) -> torch.Tensor:
    """Attention of one token a row over its row, itself included.

    Args:
        call: with T = M; its key and value are in the cache already.
        keys: [at least M, P, key heads, width].
        values: as keys.
        lengths: int32 [M], the position of each token.

    Returns:
        [M, heads, width].
    """
    query, window = call.query, call.window
    # On a GPU reading the longest length would wait for the device.
    longest = keys.shape[1] if lengths.device.type != "cpu" else int(lengths.max()) + 1
    distance = lengths[:, None] - torch.arange(longest, device=lengths.device)
    seen = distance >= 0 if window is None else (distance >= 0) & (distance < window)
    # Numbers that an earlier prompt left may be NaN, and a mask alone does not keep those out.
    k, v = (
        torch.where(seen[:, :, None, None], x[: len(query), :longest], 0.0).transpose(1, 2)
        for x in (keys, values)
    )
    # The queries that share a head of keys stand as if they were tokens: nothing is repeated.
    grouped = query.reshape(len(query), keys.shape[2], -1, query.shape[2])
    output = nn.functional.scaled_dot_product_attention(
        grouped, k, v, attn_mask=seen[:, None, None, :], scale=call.scale
    )
    return output.flatten(1, 2)


def has_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether Triton kernels do the work: on a GPU, except in fp64."""
    return (
        device.type == "cuda"
        and dtype is not torch.float64
        and importlib.util.find_spec("triton") is not None
    )
