import contextlib
import io
import re
import socket
from pathlib import Path

import evaluate
import pytest

from loratory.objectives.metrics import load_metric, score_texts
from loratory.objectives.metrics.scoring import TEXT_METRICS
from loratory.spaces import InputError
from loratory.spaces.metric_names import METRICS

LABELS = ["good", "bad"]
METRICS_PAGE = Path(__file__).parents[3] / "docs" / "metrics.md"


@pytest.fixture
def modules(monkeypatch):
    """The `evaluate` metrics by name, with every way out to the network shut."""

    def refuse(*_):
        raise AssertionError("a metric went to the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return {name: load_metric(name) for name in TEXT_METRICS}


def test_there_is_one_evaluate_metric_for_each_name(modules):
    assert set(modules) == set(TEXT_METRICS)
    for name, module in modules.items():
        assert isinstance(module, evaluate.Metric)
        assert module.direction is METRICS[name].direction
        assert module.features.keys() == {"predictions", "references"}


def test_compute_gives_what_score_texts_gives(modules, pairs):
    predictions, references = pairs
    expected = score_texts(list(modules), predictions, references)
    for name, module in modules.items():
        result = module.compute(predictions=predictions, references=references)
        assert result == {name: expected.aggregate[name], "signature": expected.signatures[name]}


def test_batches_language_and_labels_reach_the_metric(modules):
    bleu = modules["bleu"]
    bleu.add_batch(predictions=["好 a"], references=["好 b"])
    bleu.add(prediction="天气", reference="天气")
    assert "tok:13a" in bleu.compute(language="en")["signature"]
    result = modules["macro_f1"].compute(predictions=["Good."], references=["good"], labels=LABELS)
    assert result["macro_f1"] == 1.0
    assert "labels:2" in result["signature"]


def test_bad_input_has_a_clear_error(modules):
    with pytest.raises(InputError, match="at least one example"):
        modules["bleu"].compute(predictions=[], references=[])
    with pytest.raises(ValueError, match="Mismatch in the number"):
        modules["bleu"].compute(predictions=["a"], references=["a", "b"])
    with pytest.raises(ValueError, match="don't match the expected format"):
        modules["bleu"].compute(predictions=[None], references=["a"])


@pytest.mark.parametrize("name", ["loss", "rougel"])
def test_a_name_that_is_no_metric_of_texts_is_refused(name):
    with pytest.raises(InputError, match=f"metric must be one of bleu, .*, got '{name}'"):
        load_metric(name)


def test_the_example_of_the_documentation_runs():
    (example,) = re.findall(r"```python\n(.*?)```", METRICS_PAGE.read_text(encoding="utf-8"), re.DOTALL)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(example, {})
    assert printed.getvalue().startswith("{'bleu': 0.0, 'signature': 'nrefs:1|case:mixed|eff:no|tok:intl|")
