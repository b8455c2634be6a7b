import bz2
import gzip
import lzma

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from loratory.objectives.data.files import read_file
from loratory.spaces.errors import InputError

LINES = b'{"prompt": "\xc3\xa4", "completion": "b"}\n' * 200
ROW = {"prompt": "ä", "completion": "b"}


def _zstd(data):
    return pa.compress(data, codec="zstd", asbytes=True)


@pytest.mark.parametrize(
    ("suffix", "compress"),
    [(".gz", gzip.compress), (".bz2", bz2.compress), (".xz", lzma.compress), (".zst", _zstd), (".gz", bytes)],
)
def test_compressed_files_are_read_by_their_first_bytes(tmp_path, suffix, compress):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(compress(LINES))
    rows = read_file(path, path.name)
    assert len(rows) == 200 and rows[-1].fields == ROW


def test_several_gzip_files_in_one(tmp_path):
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(gzip.compress(LINES) + gzip.compress(LINES))
    assert len(read_file(path, path.name)) == 400


def test_compressed_csv_and_parquet(tmp_path):
    table = tmp_path / "a.csv.gz"
    table.write_bytes(gzip.compress("prompt;completion\nä;b\n".encode("utf-16")))
    assert read_file(table, table.name)[0].fields == ROW
    pq.write_table(pa.Table.from_pylist([ROW]), tmp_path / "plain.parquet")
    parquet = tmp_path / "a.parquet.gz"
    parquet.write_bytes(gzip.compress((tmp_path / "plain.parquet").read_bytes()))
    assert read_file(parquet, parquet.name)[0].fields == ROW


@pytest.mark.parametrize(
    ("suffix", "compress"), [(".gz", gzip.compress), (".zst", _zstd), (".xz", lzma.compress)]
)
def test_a_torn_file_is_a_line(tmp_path, suffix, compress):
    path = tmp_path / f"a.jsonl{suffix}"
    path.write_bytes(compress(LINES)[:-12])
    with pytest.raises(InputError, match=r"a\.jsonl\.\w+: must be a whole \w+ file") as caught:
        read_file(path, path.name)
    assert "\n" not in str(caught.value)


def test_json_lines_in_utf16(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_bytes(LINES.decode().encode("utf-16"))
    assert read_file(path, path.name)[-1].fields == ROW
