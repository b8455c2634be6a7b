"""Dropout whose masks are counted, not drawn: a hash of where a number stands decides about it.

A mask follows from the trial's seed, the optimiser step, the layer, the example's position in its batch,
the token and the feature. So it is the same in any slot, in passes of any size, beside any neighbours and
after any restart (the idea of Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from loratory.objectives.packing.context import DropoutKeys

_LEVELS = 1 << 16  # probabilities are rounded to this many levels
_GROUP, _FIRST, _SECOND = 0x9E3779B1 - (1 << 32), 0x7FEB352D, 0x846CA68B - (1 << 32)


def stable_hash(*parts: object) -> int:
    """A hash of some values that is the same in every process: 0 to 2^32 - 1."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def token_keys(*, seed: int, step: int, position: int, tokens: int) -> NDArray[np.int32]:
    """A key for each token of an example.

    Args:
        seed: the trial's.
        step: optimiser step, from 0.
        position: the example's place in the optimiser batch.
        tokens: how many it has.

    Returns:
        int32 [tokens].
    """
    # Not at equal distances: with the steps of the features, masks would repeat along diagonals.
    start = np.uint32(stable_hash(seed, step, position))
    counters = np.arange(tokens, dtype=np.uint32) * np.uint32(0x85EBCA6B) + start
    return _mix(torch.from_numpy(counters.view(np.int32))).numpy()


def levels(probability: float) -> int:
    """The threshold that stands for a probability."""
    return round(probability * _LEVELS)


def keep_mask(keys: torch.Tensor, thresholds: torch.Tensor, *, features: int, salt: int) -> torch.Tensor:
    """Which numbers stay.

    Args:
        keys: int32 [K, T], of the tokens.
        thresholds: int32 [K], `levels` of each slot's probability.
        features: F.
        salt: of the layer, 0 to 2^31 - 1.

    Returns:
        bool [K, T, F].
    """
    feature = torch.arange(features, device=keys.device, dtype=torch.int32)
    mixed = _mix((keys ^ salt).unsqueeze(-1) + (feature >> 1) * _GROUP)
    bits = (mixed >> ((feature & 1) << 4)) & 0xFFFF
    return bits >= thresholds.view(-1, 1, 1)


@dataclass(frozen=True)
class Dropout:
    """The dropout of one layer in the pass at hand.

    Attributes:
        keys: of the pass.
        salt: of the layer, 0 to 2^31 - 1.
    """

    keys: DropoutKeys
    salt: int

    def drop(self, x: torch.Tensor, slot: int, start: int) -> torch.Tensor:
        """Drop from a slot's numbers, and scale the others up to keep the mean.

        Args:
            x: [t, F], of the slot's tokens.
            slot: whose probability it is.
            start: place of the first token in the pass.
        """
        keys, threshold = self.keys.tokens[start : start + len(x)], self.keys.thresholds[slot : slot + 1]
        mask = _keep_mask_in_pairs(keys.unsqueeze(0), threshold, features=x.shape[-1], salt=self.salt)[0]
        return torch.where(mask, x * _inverse_keep(threshold, x.dtype)[0], x.new_zeros(()))


def _keep_mask_in_pairs(
    keys: torch.Tensor, thresholds: torch.Tensor, *, features: int, salt: int
) -> torch.Tensor:
    """`keep_mask` with each hash computed once for its two features: half the work on a CPU."""
    groups = torch.arange(-(-features // 2), dtype=torch.int32, device=keys.device) * _GROUP
    mixed = _mix((keys ^ salt).unsqueeze(-1) + groups)
    bits = mixed.view(torch.int16)[..., :features]
    # As signed numbers the bits of 0x8000 and above stand below zero: turn the order round.
    return (bits ^ -0x8000) >= (thresholds - 0x8000).clamp(max=0x7FFF).to(torch.int16).view(-1, 1, 1)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """A 32-bit hash in which every bit of the input moves every bit of the output."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * _FIRST
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * _SECOND
    return x ^ ((x >> 16) & 0xFFFF)


def _inverse_keep(thresholds: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    return (_LEVELS / (_LEVELS - thresholds.double())).to(dtype).view(-1, 1, 1)
