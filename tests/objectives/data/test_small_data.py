"""Draws of labels, and what select can tell apart, with the defaults."""

import pytest

from loratory.spaces.errors import InputError


@pytest.fixture
def prepare_alone(prepare, write_jsonl):
    """Prepare one file with the defaults: no eval, no sizes of eval and dev."""

    def run(rows, **options):
        sizes = {"eval_fraction": None, "evaluation": {"dev_examples": None} | options.pop("evaluation", {})}
        return prepare(write_jsonl(rows), **{**sizes, **options})

    return run


def _labelled(counts):
    labels = [label for label, count in counts.items() for _ in range(count)]
    return [{"prompt": f"text {n} of {n * 31}:", "completion": f" {label}"} for n, label in enumerate(labels)]


def _sizes(data):
    return [len(split) for split in (data.train, data.dev, data.select)]


def test_the_summary_says_what_select_can_tell_apart(prepare_alone, alpaca_rows):
    line = (
        "select has 25 examples: a difference between two trials in the share of right answers is known to "
        "within 0.28 (95%) if they disagree on half of the answers, 0.18 on a fifth"
    )
    assert line in prepare_alone(alpaca_rows(200), metric="exact_match").summary
    other = prepare_alone(alpaca_rows(200), metric="rougeL").summary
    assert not any("right answers" in line for line in other), "ROUGE-L is no share of right answers"


def test_labels_are_drawn_in_proportion_and_rare_ones_stay_in_train(prepare_alone):
    counts = {"positive": 60, "negative": 40, "mixed": 4, "odd": 1, "-1": 2, "1": 3}
    data = (found := prepare_alone(_labelled(counts), task="classification")).data
    assert set(data.labels) == set(counts), '"-1" and "1" are two labels'
    assert {example.reference for example in data.train} == set(counts)
    scored = [example.reference for example in (*data.dev, *data.select)]
    assert scored.count("positive") in (15, 16) and scored.count("negative") in (10, 11)
    (line,) = [line for line in found.summary if line.startswith("labels too rare for eval: ")]
    assert "'odd' (1 in train)" in line and "give more rows of them, or name data.eval" in line


@pytest.mark.parametrize("seed", range(12))
def test_no_draw_of_our_own_is_refused(prepare_alone, seed):
    rows = _labelled({"a": 12 + seed, "b": 1 + seed % 3, "c": 1, "d": 7})
    data = prepare_alone(rows, task="classification", cleaning={"near_duplicate_threshold": 0.3}).data
    assert {example.reference for example in data.train} == {"a", "b", "c", "d"}


def test_a_label_that_cleaning_takes_from_train_comes_back_from_eval(prepare_alone):
    """The rows of a rare label are near copies: eval's row removes those of train as leaked."""
    text = " ".join(f"word{n}" for n in range(120))
    rare = [{"prompt": f"{text} {n}", "completion": "rare"} for n in range(6)]
    data = prepare_alone([*_labelled({"a": 40, "b": 40}), *rare], task="classification").data
    assert "rare" in {example.reference for example in data.train}
    assert "rare" not in {example.reference for example in (*data.dev, *data.select)}


def test_labels_of_one_row_each_cannot_be_divided(prepare_alone):
    with pytest.raises(InputError, match=r"data.eval must name a source: each label of train is in one row"):
        prepare_alone(_labelled({f"label {n}": 1 for n in range(30)}), task="classification")


def test_without_stratify_draws_are_those_of_version_1(prepare_alone):
    rows = _labelled({"a": 60, "b": 60})
    first, second = (
        prepare_alone(rows, task=task, stratify=False, eval_fraction=0.1).data
        for task in ("classification", "generation")
    )
    assert list(first.train) == list(second.train) and list(first.dev) == list(second.dev)


def test_groups_stay_whole_where_labels_are_drawn(prepare_alone):
    rows = [{**row, "group": f"g{n % 25}"} for n, row in enumerate(_labelled({"a": 60, "b": 40}))]
    data = prepare_alone(rows, task="classification").data
    train = {example.group for example in data.train}
    assert not train & {example.group for example in (*data.dev, *data.select)}


def test_labels_that_look_alike_are_named(prepare_alone):
    found = prepare_alone(
        _labelled({"1": 30, "1.0": 30, "Yes": 30, "yes": 30, "no": 30}), task="classification"
    )
    alike = [line.partition(" differ")[0] for line in found.summary if "each is a label of its own" in line]
    assert alike == ["labels '1', '1.0'", "labels 'Yes', 'yes'"]


def test_labels_that_train_examples_leaves_out_are_named(prepare_alone):
    rows = _labelled({"a": 80, "b": 80, "rare": 4})
    lines = prepare_alone(rows, task="classification", train_examples=10).summary
    assert "labels that no example of train has: 'rare'; raise data.train_examples" in lines
    assert not [x for x in prepare_alone(rows, task="classification").summary if "no example of train" in x]
