"""Dropout with masks from a counter-based hash instead of a random generator's state.

A mask is a function of the trial's seed, the optimiser step, the layer, the example's position in its batch,
the token and the feature. So it is the same in any slot, in passes of any size, beside any other trials and
after any restart (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011).
"""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

_LEVELS = 1 << 16  # probabilities are rounded to this many levels
_GROUP, _FIRST, _SECOND = 0x9E3779B1 - (1 << 32), 0x7FEB352D, 0x846CA68B - (1 << 32)


@dataclass(frozen=True, kw_only=True)
class DropoutKeys:
    """The keys of a pass; together with a layer's salt they decide which elements are dropped.

    Attributes:
        tokens: int32 [T], a key for each token.
        thresholds: int32 [K], each slot's probability in `levels`.
    """

    tokens: torch.Tensor
    thresholds: torch.Tensor


def stable_hash(*parts: object) -> int:
    """Return a hash of some values, 0 to 2^32 - 1, that is the same in every process."""
    digest = hashlib.sha256(":".join(map(str, parts)).encode()).digest()
    return int.from_bytes(digest[:4], "little")


def token_keys(*, seed: int, step: int, position: int, tokens: int) -> NDArray[np.int32]:
    """Compute a key for each token of an example.

    Args:
        seed: of the trial.
        step: optimiser step, from 0.
        position: index of the example in the optimiser batch.
        tokens: number of tokens of the example.

    Returns:
        int32 [tokens].
    """
    # Keys at equal distances would, with the equal distances of the features, repeat masks along diagonals.
    start = np.uint32(stable_hash(seed, step, position))
    counters = np.arange(tokens, dtype=np.uint32) * np.uint32(0x85EBCA6B) + start
    return _mix(torch.from_numpy(counters.view(np.int32))).numpy()


def levels(probability: float) -> int:
    """Return a dropout probability as an integer threshold, 0 to 2^16."""
    return round(probability * _LEVELS)


def keep_mask(keys: torch.Tensor, thresholds: torch.Tensor, *, features: int, salt: int) -> torch.Tensor:
    """Compute which elements are kept.

    Args:
        keys: int32 [K, T], of the tokens.
        thresholds: int32 [K], each slot's probability in `levels`.
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
    """The dropout of one layer in one pass.

    Attributes:
        keys: of the pass.
        salt: of the layer, 0 to 2^31 - 1.
    """

    keys: DropoutKeys
    salt: int

    def drop(self, x: torch.Tensor, slot: int, start: int) -> torch.Tensor:
        """Set elements to zero with the slot's probability p, and scale the others by 1 / (1 - p).

        Args:
            x: [t, F], of the slot's tokens.
            slot: the slot.
            start: index of the first of these tokens in the pass.

        Returns:
            [t, F].
        """
        keys, threshold = self.keys.tokens[start : start + len(x)], self.keys.thresholds[slot : slot + 1]
        mask = _keep_mask_in_pairs(keys.unsqueeze(0), threshold, features=x.shape[-1], salt=self.salt)[0]
        return torch.where(mask, x * _inverse_keep(threshold, x.dtype)[0], x.new_zeros(()))


def _keep_mask_in_pairs(
    keys: torch.Tensor, thresholds: torch.Tensor, *, features: int, salt: int
) -> torch.Tensor:
    """Compute `keep_mask` with one hash for two features, which halves the work on a CPU."""
    groups = torch.arange(-(-features // 2), dtype=torch.int32, device=keys.device) * _GROUP
    mixed = _mix((keys ^ salt).unsqueeze(-1) + groups)
    bits = mixed.view(torch.int16)[..., :features]
    # Values of 0x8000 and above are negative as int16: flipping the sign bit restores their order.
    return (bits ^ -0x8000) >= (thresholds - 0x8000).clamp(max=0x7FFF).to(torch.int16).view(-1, 1, 1)


def _mix(x: torch.Tensor) -> torch.Tensor:
    """Compute a 32-bit hash of int32 x in which each input bit affects every output bit."""
    x = x ^ ((x >> 16) & 0xFFFF)
    x = x * _FIRST
    x = x ^ ((x >> 15) & 0x1FFFF)
    x = x * _SECOND
    return x ^ ((x >> 16) & 0xFFFF)


def _inverse_keep(thresholds: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Return 1 / (1 - p) for each threshold, [K, 1, 1]."""
    return (_LEVELS / (_LEVELS - thresholds.double())).to(dtype).view(-1, 1, 1)
