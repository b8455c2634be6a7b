"""MinHash signatures, and the bands by which locality-sensitive hashing finds similar texts.

Broder (1997); Indyk and Motwani (1998) for the banding. The signatures are those of datasketch 2.0: affine
permutations of 32-bit hashes that MurmurHash3's finaliser has mixed.
"""

import numpy as np
from numpy.typing import NDArray

from loratory.objectives.data.shingles import MULTIPLIER, ShingleSets

PERMUTATIONS = 128
MISS_PROBABILITY = 1e-3
"""Largest probability that the bands miss a pair with a similarity equal to the threshold."""

Signatures = NDArray[np.uint32]

_SEED = 1
_LARGEST = np.uint32(2**32 - 1)
# Shingles that are permuted together: their 128 values each stay in the processor's cache.
_BLOCK = 1_024


def signatures(texts: ShingleSets) -> Signatures:
    """Return the MinHash signature of each text, uint32 [n, 128]; of a text without shingles, all ones."""
    factors, shifts = _permutations()
    hashes = _mixed((texts.values * MULTIPLIER) >> np.uint64(32))
    found = np.full((len(texts), PERMUTATIONS), _LARGEST)
    filled = np.flatnonzero(np.diff(texts.offsets))
    starts, ends = texts.offsets[:-1][filled], texts.offsets[1:][filled]
    first = 0
    while first < len(filled):
        last = max(first + 1, int(np.searchsorted(ends, starts[first] + _BLOCK, side="right")))
        block = hashes[starts[first] : ends[last - 1], np.newaxis] * factors
        block += shifts
        found[filled[first:last]] = np.minimum.reduceat(block, starts[first:last] - starts[first], axis=0)
        first = last
    return found


def band_shape(threshold: float) -> tuple[int, int]:
    """Return bands and rows per band: the strictest shape that misses few pairs at the threshold.

    A pair of similarity s shares a band with probability 1 - (1 - s^rows)^bands.
    """
    shapes = [(PERMUTATIONS // rows, rows) for rows in range(1, PERMUTATIONS // 2 + 1)]
    safe = [(b, r) for b, r in shapes if (1 - threshold**r) ** b <= MISS_PROBABILITY]
    return safe[-1] if safe else shapes[0]


def band_keys(found: Signatures, threshold: float) -> NDArray[np.uint64]:
    """Return a hash of each band of each text, uint64 [bands, n]."""
    bands, rows = band_shape(threshold)
    keys = np.zeros((bands, len(found)), dtype=np.uint64)
    for band in range(bands):
        for column in range(band * rows, (band + 1) * rows):
            keys[band] = mixed_keys(keys[band], found[:, column].astype(np.uint64))
    return keys


def mixed_keys(keys: NDArray[np.uint64], values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return keys that also depend on further values, uint64 [n]."""
    return ((keys ^ (keys >> np.uint64(29))) + values + np.uint64(1)) * MULTIPLIER


def _permutations() -> tuple[Signatures, Signatures]:
    draw = np.random.RandomState(_SEED)
    odd = draw.randint(0, 1 << 31, PERMUTATIONS, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return odd, draw.randint(0, 1 << 32, PERMUTATIONS, dtype=np.uint32)


def _mixed(hashes: NDArray[np.uint64]) -> Signatures:
    """Return 32-bit hashes after MurmurHash3's finaliser (Appleby)."""
    mixed = hashes.astype(np.uint32)
    mixed ^= mixed >> np.uint32(16)
    mixed *= np.uint32(0x85EBCA6B)
    mixed ^= mixed >> np.uint32(13)
    mixed *= np.uint32(0xC2B2AE35)
    mixed ^= mixed >> np.uint32(16)
    return mixed
