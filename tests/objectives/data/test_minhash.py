import numpy as np
from datasketch import MinHash

from loratory.objectives.data.minhash import signatures
from loratory.objectives.data.shingles import MULTIPLIER, ShingleSets


def test_signatures_are_those_of_datasketch():
    draw = np.random.default_rng(0)
    sizes = [1, 0, 3, 5_000, 17, 0, 900, 1]
    texts = [np.unique(draw.integers(0, 2**63, size=size, dtype=np.uint64)) for size in sizes]
    hashes = [((text * MULTIPLIER) >> np.uint64(32)).tolist() for text in texts]
    theirs = MinHash.bulk(hashes, num_perm=128, seed=1, hashfunc=lambda value: value)
    found = signatures(ShingleSets.of(texts))
    assert np.array_equal(found, np.array([minhash.hashvalues for minhash in theirs]))
