import json

import pytest

from loratory.objectives.manifest import Manifest
from loratory.objectives.records import Check
from loratory.objectives.versions import checksum
from loratory.spaces.earlier_defaults import as_begun_with
from loratory.spaces.errors import LoratoryError
from loratory.spaces.study import StudySpec

SPEC = {"name": "s", "objective": "toy", "space": {"rank": [4, 8]}, "storage": "postgresql://me:secret@db/x"}
MANIFEST = Manifest(
    uuid="u",
    spec=StudySpec.model_validate(SPEC),
    hashes={"data": "d"},
    created_at="2026-01-02T03:00:00+00:00",
    splits={"train": 80, "dev": 10, "select": 10},
    checks=[Check(name="weights", passed=True), Check(name="decoding", detail="not checked: needs weights")],
)


def test_a_manifest_reads_back_without_the_password_and_with_its_defaults_filled_in():
    text = MANIFEST.to_json()
    assert "secret" not in text
    fields = json.loads(text)
    assert fields["checksum"] == checksum(fields)
    assert fields["spec"]["evaluation"]["evaluations"] == 4
    again = Manifest.from_json(text.encode(), "here")
    assert again.to_json() == text
    assert (again.splits, again.checks, again.began_with) == (MANIFEST.splits, MANIFEST.checks, 2)


def test_a_manifest_of_version_1_says_so_and_loses_the_key_that_is_gone():
    fields = json.loads(MANIFEST.to_json())
    for name in ("checksum", "splits", "checks", "began_with"):
        del fields[name]
    fields |= {"schema_version": 1, "spec": {**fields["spec"], "direction": None}}
    manifest = Manifest.from_json(json.dumps(fields).encode(), "here")
    assert (manifest.began_with, manifest.splits, manifest.checks) == (1, None, [])
    assert manifest.spec == as_begun_with(1, MANIFEST.spec.without_secrets())
    assert manifest.spec.training.schedule == "cosine_nonzero_start"  # what cosine was then


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"spec": None, "schema_version": 1}, "spec must be a JSON object, got NoneType"),
        ({"spec": []}, "must be a study manifest, is damaged: "),
        ({"hashes": None}, "hashes must be of type dict, got None"),
        ({"uuid": 5}, "uuid must be of type str, got 5"),
        ({"began_with": "1"}, "began_with must be of type int, got '1'"),
        ({"schema_version": 3}, "schema_version must be at most 2, got 3; update loratory"),
        ({"schema_version": None}, "schema_version must be a whole number from 1, got None"),
    ],
)
def test_a_damaged_manifest_is_one_line(changes, words):
    fields = json.loads(MANIFEST.to_json()) | changes
    with pytest.raises(LoratoryError) as caught:
        Manifest.from_json(json.dumps(fields).encode(), "study.json")
    assert str(caught.value).startswith("study.json: ") and words in str(caught.value)
    assert "\n" not in str(caught.value)
