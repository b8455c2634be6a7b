import json

import datasets
import pytest

from loratory.objectives.data.hub import read_hub
from loratory.objectives.data.rows import Part
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError

DATA = DataSpec(train="unused")


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()


@pytest.fixture
def folder(tmp_path):
    """A data set as it lies in a Hub repository: one file a split."""
    path = tmp_path / "repository"
    path.mkdir()
    for split, count in (("train", 3), ("validation", 2)):
        rows = [{"prompt": f"{split} {n}", "completion": "yes"} for n in range(count)]
        (path / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_each_part_reads_its_usual_split(folder):
    train, eval_ = (read_hub(str(folder), part, DATA) for part in (Part.TRAIN, Part.EVAL))
    assert [row.fields["prompt"] for row in train] == ["train 0", "train 1", "train 2"]
    assert [row.number for row in eval_] == [1, 2]
    assert not list((folder.parent / "cache").rglob("*.arrow"))


def test_a_named_split_wins_and_may_be_a_slice(folder):
    rows = read_hub(f"{folder}:train[1:2]", Part.EVAL, DATA)
    assert [row.fields["prompt"] for row in rows] == ["train 1"]


def test_a_missing_split_lists_those_there(folder):
    with pytest.raises(InputError, match="must have a split test, has train, validation; name one as"):
        read_hub(str(folder), Part.TEST, DATA)
    with pytest.raises(InputError, match="must be a data set that can be read"):
        read_hub(f"{folder}:nope", Part.TEST, DATA)


def test_class_labels_become_their_names(tmp_path):
    features = datasets.Features(
        {"prompt": datasets.Value("string"), "completion": datasets.ClassLabel(names=["bad", "good"])}
    )
    table = datasets.Dataset.from_dict({"prompt": ["a", "b"], "completion": [1, 0]}, features=features)
    (tmp_path / "labelled").mkdir()
    table.to_parquet(tmp_path / "labelled" / "train.parquet")
    rows = read_hub(str(tmp_path / "labelled"), Part.TRAIN, DATA)
    assert [row.fields["completion"] for row in rows] == ["good", "bad"]


def test_a_hub_id_without_network_is_a_line(tmp_path):
    with pytest.raises(
        InputError, match=r"data.train no-such/data: .*; check the name and the network"
    ) as caught:
        read_hub("no-such/data", Part.TRAIN, DATA)
    assert "\n" not in str(caught.value)


def test_a_broken_file_in_a_repository_is_a_line(folder):
    (folder / "train.jsonl").write_text('{"prompt": "a", "completion": "b"}\n{"prompt": \n')
    with pytest.raises(
        InputError, match=r"data.train .*repository:train: must be a data set that can be read"
    ) as caught:
        read_hub(f"{folder}:train", Part.TRAIN, DATA)
    assert "\n" not in str(caught.value)


def test_cells_of_a_csv_stay_as_they_are_written(tmp_path):
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "train.csv").write_text("prompt,completion\n007,NA\n1.50,None\n3,\n")
    rows = read_hub(f"{tmp_path / 'folder'}", Part.TRAIN, DATA)
    assert [tuple(row.fields.values()) for row in rows] == [("007", "NA"), ("1.50", "None"), ("3", "")]
