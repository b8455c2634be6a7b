"""A small valid study, and helpers that load variants of it."""

import pytest

from loratory.spaces import InputError, load_study

STUDY = """\
name: demo
metric: rougeL
model:
  base: some/model
data:
  train: train.jsonl
space:
  learning_rate: {type: float, low: 1e-5, high: 1e-3, log: true}
"""


@pytest.fixture
def study_text():
    """A valid study file of 8 lines; what a test appends begins on line 9, inside `space` if indented."""
    return STUDY


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Load a study file of the given text, named study.yaml in the current folder."""
    monkeypatch.chdir(tmp_path)

    def load(text, *overrides, name="study.yaml"):
        data = text if isinstance(text, bytes) else text.encode()
        (tmp_path / name).write_bytes(data)
        return load_study(name, overrides)

    return load


@pytest.fixture
def refusal(load):
    """The message with which a study file of the given text is refused."""

    def refusal(text, *overrides, **options):
        with pytest.raises(InputError) as caught:
            load(text, *overrides, **options)
        assert caught.value.exit_status == 2
        return str(caught.value)

    return refusal
