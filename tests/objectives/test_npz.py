import io
import zipfile

import numpy as np
import pytest

from loratory.objectives.npz import read_arrays


def archive(*, compressed: bool = True, **arrays: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(buffer, **arrays)
    return buffer.getvalue()


ARRAYS = {
    "header": np.frombuffer(b'{"a": 1}', dtype=np.uint8),
    "metric/rougeL": np.linspace(0, 1, 500),
    "statistic/bleu": np.arange(5000.0).reshape(500, 10),
    "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "counts": np.array([1, 2], dtype=np.int64),
    "empty": np.zeros((0, 2)),
    "scalar": np.array(3.5),
    "names": np.array(["one", "two"]),
}


@pytest.mark.parametrize("compressed", [True, False])
def test_reads_what_numpy_reads(compressed: bool) -> None:
    data = archive(compressed=compressed, **ARRAYS)
    found = read_arrays(data)
    with np.load(io.BytesIO(data)) as expected:
        assert list(found) == expected.files
        for name in expected.files:
            assert found[name].dtype == expected[name].dtype
            np.testing.assert_array_equal(found[name], expected[name])
            found[name][...] = found[name]  # can be written to, as numpy's can


def test_a_bit_that_flipped_in_the_content_is_noticed() -> None:
    data = bytearray(archive(values=np.random.default_rng(0).random(400)))
    for place in range(100, len(data) - 200, 97):
        data[place] ^= 4
        with pytest.raises(zipfile.BadZipFile):
            read_arrays(bytes(data))
        data[place] ^= 4


def test_what_was_cut_short_is_noticed() -> None:
    data = archive(values=np.arange(400.0))
    for length in (0, 10, len(data) // 2, len(data) - 30):
        with pytest.raises(zipfile.BadZipFile):
            read_arrays(data[:length])


def test_pickles_are_refused() -> None:
    data = archive(values=np.array([{"a": 1}], dtype=object))
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_arrays(data)
