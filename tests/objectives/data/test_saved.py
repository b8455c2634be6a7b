import datasets
import pytest

from loratory.objectives.data.files import read_file
from loratory.objectives.data.rows import Part
from loratory.objectives.data.sources import check_files, read_sources
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError

FEATURES = datasets.Features(
    {
        "prompt": datasets.Value("string"),
        "completion": datasets.ClassLabel(names=["bad", "good"]),
        "calls": datasets.List({"a": datasets.Value("int64"), "b": datasets.Value("int64")}),
    }
)


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()


def _table(count, start=0):
    return datasets.Dataset.from_dict(
        {
            "prompt": [f"p{n}" for n in range(start, start + count)],
            "completion": [n % 2 for n in range(count)],
            "calls": [[{"a": n, "b": None}] for n in range(count)],
        },
        features=FEATURES,
    )


def test_a_saved_data_set_with_names_of_labels_and_without_the_nulls_of_lists(tmp_path):
    _table(5).save_to_disk(tmp_path / "saved", num_shards=2)
    data = DataSpec(train=str(tmp_path / "saved"))
    check_files(data)
    rows = read_sources(data)[Part.TRAIN]
    assert [row.number for row in rows] == [1, 2, 3, 4, 5]
    assert rows[1].fields == {"prompt": "p1", "completion": "good", "calls": [{"a": 1}]}
    assert rows[1].place == f"{tmp_path / 'saved'}, row 2"
    shard = next((tmp_path / "saved").glob("*.arrow"))
    assert read_file(shard, "a.arrow")[1].fields == rows[1].fields


def test_splits_of_a_saved_dictionary(tmp_path):
    splits = {"train": _table(3), "validation": _table(2, start=3), "odd": _table(1, start=9)}
    datasets.DatasetDict(splits).save_to_disk(tmp_path / "saved")
    folder = str(tmp_path / "saved")
    read = read_sources(DataSpec(train=folder, eval=folder, test=f"{folder}:odd"))
    assert {part: [row.fields["prompt"] for row in rows] for part, rows in read.items()} == {
        Part.TRAIN: ["p0", "p1", "p2"],
        Part.EVAL: ["p3", "p4"],
        Part.TEST: ["p9"],
    }
    with pytest.raises(InputError, match="must have a split test, has train, validation, odd; name one as"):
        read_sources(DataSpec(train=folder, test=folder))


def test_a_missing_file_or_split_of_a_saved_data_set_is_named(tmp_path):
    _table(2).save_to_disk(tmp_path / "saved")
    with pytest.raises(InputError, match="is one data set without a split nope"):
        read_sources(DataSpec(train=f"{tmp_path / 'saved'}:nope"))
    next((tmp_path / "saved").glob("*.arrow")).unlink()
    with pytest.raises(InputError, match=r"must have the file data-.*\.arrow that its state\.json names"):
        read_sources(DataSpec(train=str(tmp_path / "saved")))
