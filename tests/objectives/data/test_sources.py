import pytest

from loratory.objectives.data.rows import Part
from loratory.objectives.data.sources import check_files, read_sources
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError


def test_each_part_has_its_file(write_jsonl):
    train, test = write_jsonl([{"a": "1"}], "a.jsonl"), write_jsonl([{"a": "2"}], "b.jsonl")
    read = read_sources(DataSpec(train=train, test=test))
    assert {part: rows[0].fields["a"] for part, rows in read.items()} == {Part.TRAIN: "1", Part.TEST: "2"}
    assert read[Part.TEST][0].place == f"{test}, row 1"


def test_an_unknown_builtin():
    with pytest.raises(
        InputError, match="the only builtin data is builtin:quickstart, got builtin:slowstart"
    ):
        read_sources(DataSpec(train="builtin:slowstart"))


def test_a_missing_file_is_not_taken_for_a_hub_id():
    with pytest.raises(InputError, match=r"data/nowhere\.jsonl: no such file"):
        read_sources(DataSpec(train="data/nowhere.jsonl"))


def test_a_missing_file_is_named_with_its_key_before_anything_is_read(write_jsonl):
    train = write_jsonl([{"a": "1"}], "a.jsonl")
    check_files(DataSpec(train=train, eval="me/data", test="builtin:quickstart"))
    check_files(DataSpec(train="builtin:mine.jsonl"))  # refused where it is read
    with pytest.raises(InputError, match=r"data\.test: nowhere\.csv: no such file; paths are relative"):
        check_files(DataSpec(train=train, eval="me/data", test="nowhere.csv"))


def test_the_quickstarts_data_brings_its_own_splits():
    read = read_sources(DataSpec(train="builtin:quickstart", train_examples=50))
    assert set(read) == set(Part)
    assert len(read[Part.TRAIN]) == 50
    assert read[Part.EVAL][0].place == "builtin:quickstart/eval.jsonl, row 1"
    groups = [{row.fields["group"] for row in rows} for rows in read.values()]
    assert not groups[0] & groups[1] and not groups[0] & groups[2] and not groups[1] & groups[2]


def test_a_pattern_reads_its_files_in_order_and_names_each(tmp_path, write_jsonl):
    for name in ("b.jsonl", "a.jsonl", "c.txt"):
        write_jsonl([{"a": name}], name)
    rows = read_sources(DataSpec(train=str(tmp_path / "*.jsonl")))[Part.TRAIN]
    assert [row.place for row in rows] == [f"{tmp_path / name}, row 1" for name in ("a.jsonl", "b.jsonl")]
    picked = read_sources(DataSpec(train=str(tmp_path / "[b].jsonl")))[Part.TRAIN]
    assert [row.fields["a"] for row in picked] == ["b.jsonl"]


def test_a_pattern_that_matches_nothing_is_refused_before_anything_is_read(tmp_path):
    data = DataSpec(train=str(tmp_path / "*.jsonl.gz"))
    for read in (check_files, read_sources):
        with pytest.raises(InputError, match=r"data\.train: .*\*\.jsonl\.gz must match a file, matches none"):
            read(data)


@pytest.mark.parametrize("name", ["./rows", "../rows:train", "/no/such/folder", "~/no-such-rows"])
def test_a_missing_folder_is_not_taken_for_a_hub_id(name):
    for read in (check_files, read_sources):
        with pytest.raises(InputError, match=rf"data\.train: {name}: no such file or folder; paths are rel"):
            read(DataSpec(train=name))


def test_a_split_of_a_folder_is_found(tmp_path):
    check_files(DataSpec(train=f"{tmp_path}:train"))


def test_a_missing_compressed_file_is_not_taken_for_a_hub_id():
    with pytest.raises(InputError, match=r"data\.train: rows\.csv\.gz: no such file"):
        check_files(DataSpec(train="rows.csv.gz"))
