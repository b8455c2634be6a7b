import json
import re

import pytest

from loratory.spaces import InputError, load_study
from loratory.spaces.schema import study_schema
from loratory.spaces.starter import starter_study, write_starter


def test_it_loads_as_it_stands_and_its_schema_lies_beside_it(tmp_path):
    study_file, schema_file = write_starter(tmp_path / "new" / "My study.yaml")
    study = load_study(study_file)
    assert study.name == "My-study"
    assert set(study.space.root) == {"learning_rate", "batch_size", "rank", "epochs"}
    first = study_file.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=./loratory.schema.json"
    assert schema_file == study_file.parent / "loratory.schema.json"
    assert json.loads(schema_file.read_text()) == study_schema()


def test_every_key_is_explained_in_its_line():
    lines = [line for line in starter_study("demo").splitlines()[2:] if line.strip()]
    sections = {"model:", "data:", "evaluation:", "packing:", "tracking:"}
    explained = re.compile(r"^ *\w+: .*# \w|^ *\w+: \{type")
    assert [line for line in lines if line not in sections and not explained.match(line)] == []
    assert max(map(len, lines)) <= 110


def test_it_overwrites_no_study(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"study.yaml: must not exist: name another file"):
        write_starter(path)
    assert path.read_text() == "mine"
    assert not (tmp_path / "loratory.schema.json").exists()


def test_a_second_study_in_the_folder_renews_our_schema(tmp_path):
    _, schema = write_starter(tmp_path / "one.yaml")
    schema.write_text('{"title": "loratory study file", "old": true}')
    write_starter(tmp_path / "two.yaml")
    assert json.loads(schema.read_text()) == study_schema()


@pytest.mark.parametrize("text", ['{"title": "other"}', "[]", "not json"])
def test_it_overwrites_no_schema_of_another(tmp_path, text):
    schema = tmp_path / "loratory.schema.json"
    schema.write_text(text)
    with pytest.raises(InputError, match="must not be a file of your own"):
        write_starter(tmp_path / "study.yaml")
    assert schema.read_text() == text
    assert not (tmp_path / "study.yaml").exists()


def test_it_is_yaml(tmp_path):
    with pytest.raises(InputError, match=r"study.json: a starter must be a .yaml file, such as .*study.yaml"):
        write_starter(tmp_path / "study.json")


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="must be in a folder that can be written to"):
        write_starter(tmp_path / "file" / "study.yaml")


@pytest.mark.parametrize("name", ["", "a/b", "-x", "a\n", "x" * 101])
def test_a_name_that_no_study_may_have(name):
    with pytest.raises(InputError, match="a study's name must match"):
        starter_study(name)
