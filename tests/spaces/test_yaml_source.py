import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loratory.spaces.yaml_source import parse_value, read_yaml


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-4", 1e-4),
        ("1E5", 1e5),
        ("-1.5e-3", -1.5e-3),
        (".5", 0.5),
        ("5.", 5.0),
        ("12", 12),
        ("-3", -3),
        ("012", 12),
        ("0x1f", 31),
        ("0o17", 15),
        (".inf", float("inf")),
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("off", "off"),
        ("no", "no"),
        ("on", "on"),
        ("2026-01-31", "2026-01-31"),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("1.2.3", "1.2.3"),
        ("e5", "e5"),
        ('"1e-4"', "1e-4"),
    ],
)
def test_plain_scalars_are_those_of_yaml_1_2(text, value):
    parsed = parse_value(text)
    assert parsed == value
    assert type(parsed) is type(value)


TEXT = st.text(st.sampled_from("01e.-+:#'\"{}[],&*! \n\\yno值é"), max_size=6)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=10,
)


@given(st.dictionaries(TEXT, DOCUMENTS, min_size=1, max_size=4))
def test_json_reads_as_it_does_in_json(document):
    assert read_yaml(json.dumps(document, ensure_ascii=False), "x").data == document


def test_every_key_and_item_has_its_line():
    source = read_yaml("a:\n  b: 1\n  c:\n  - x\n  - y: 2\nd: {e: 3}\n", "x")
    lines = {(): 1, ("a",): 1, ("a", "b"): 2, ("a", "c"): 3, ("a", "c", 0): 4, ("a", "c", 1): 5}
    assert source.lines == lines | {("a", "c", 1, "y"): 5, ("d",): 6, ("d", "e"): 6}
    assert source.where(("a", "c", 7)) == "x:3"
    assert source.where(("d", "e", "f")) == "x:6"


def test_aliases_do_not_blow_up():
    levels = "\n".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 9)}]" for i in range(1, 9))
    assert len(read_yaml(f"l0: &l0 [x]\n{levels}\n", "x").lines) < 200
