import json

import pytest

from loratory.objectives.records import Provenance, ScoreRecord, TrialRecord
from loratory.objectives.versions import checksum, record_from_bytes, record_to_bytes
from loratory.spaces.errors import LoratoryError

RECORD = TrialRecord(
    study="u",
    key="confirm/0011-2",
    number=None,
    params={"learning_rate": 3e-5, "modules": ["q_proj"], "wide": "日本\ud800", "tiny": 1e-300},
    provenance=Provenance(seed=1),
)
VERSION_1 = {
    "schema_version": 1,
    "study": "u",
    "number": 11,
    "state": "COMPLETE",
    "params": {},
    "values": [0.5],
    "provenance": {"seed": 3},
}


def test_the_checksum_is_that_of_all_other_fields_whatever_their_order():
    fields = json.loads(record_to_bytes(RECORD))
    assert list(fields)[-1] == "checksum"
    assert fields["checksum"] == checksum(dict(reversed(fields.items())))
    for name in fields.keys() - {"checksum"}:
        assert checksum({**fields, name: "another"}) != fields["checksum"], name


def test_a_record_without_or_with_a_wrong_checksum_is_read():
    fields = json.loads(record_to_bytes(RECORD))
    for content in ({**fields, "checksum": "0"}, {n: v for n, v in fields.items() if n != "checksum"}):
        assert record_from_bytes(TrialRecord, json.dumps(content).encode(), "here") == RECORD


def test_a_trial_of_version_1_gets_its_key_and_empty_fields():
    record = record_from_bytes(TrialRecord, json.dumps(VERSION_1).encode(), "here")
    assert (record.key, record.number, record.values) == ("0011", 11, [0.5])
    assert (record.order, record.schedule, record.files, record.attempts) == (None, None, {}, [])


@pytest.mark.parametrize(("number", "trial"), [(7, "0007"), (None, None)])
def test_a_scoring_of_version_1_names_its_trial(number, trial):
    fields = {"schema_version": 1, "study": "u", "key": "test/winner", "split": "test", "number": number}
    fields |= {"metrics": {"loss": 1.0}, "provenance": {"seed": 0}}
    record = record_from_bytes(ScoreRecord, json.dumps(fields).encode(), "here")
    assert (record.trial, record.number, record.scored_at) == (trial, number, None)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (
            {**VERSION_1, "schema_version": 3},
            "here: schema_version must be at most 2, got 3; update",
        ),
        (
            {**VERSION_1, "schema_version": 0},
            "is damaged: schema_version must be a whole number from 1, got 0",
        ),
        ({**VERSION_1, "schema_version": "2"}, "must be a whole number from 1, got '2'"),
        ({**VERSION_1, "seed": 1}, "here: must be a record, is damaged: seed: Extra inputs"),
        ([], "here: must be a record, is damaged: must be a JSON object, got list"),
    ],
)
def test_what_cannot_be_read_is_one_line(content, words):
    with pytest.raises(LoratoryError) as caught:
        record_from_bytes(TrialRecord, json.dumps(content).encode(), "here")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "it is empty"),
        (b" \n", "it is empty"),
        (b'{"schema_version": 2,\n "key', "it is no JSON from line 2, column 2 on"),
        (b"\xff\xfe{", "it is no UTF-8 text"),
    ],
)
def test_damage_is_said_in_plain_words(content, words):
    with pytest.raises(LoratoryError) as told:
        record_from_bytes(TrialRecord, content, "here")
    assert str(told.value) == f"here: must be a record, is damaged: {words}"
