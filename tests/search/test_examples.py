"""The shipped examples search, with the toy in place of training: sampler, pruner and space are taken."""

from pathlib import Path

import optuna
import pytest

from loratory.objectives.records import TrialState
from loratory.search.optuna_rows import suggest
from loratory.search.samplers import build_sampler
from loratory.spaces import StudySpec, load_study

EXAMPLES = sorted((Path(__file__).parents[2] / "examples").glob("*.yaml"))
_DEFAULT_STARTUP = 10
"""Optuna's, of TPE and GP."""
_MODELLED = 3


def with_the_toy(study: StudySpec, trials: int) -> StudySpec:
    """Return a study with its search as it is, and nothing to train."""
    fields = study.model_dump(mode="json", exclude={"model", "data", "tracking", "toy", "time_limit_minutes"})
    return StudySpec.model_validate(fields | {"objective": "toy", "trials": trials, "toy": {}})


def asked_at_random(study: StudySpec, rows: optuna.Study, number: int) -> dict[str, object]:
    """Return the point that a trial's sampler would have asked for before its model begins."""
    sampler = study.sampler.model_copy(update={"startup_trials": 10**6})
    scratch = optuna.create_study(direction=rows.direction)
    scratch.add_trials([row for row in rows.get_trials() if row.number < number])
    scratch.sampler = build_sampler(study.model_copy(update={"sampler": sampler}), number)
    return suggest(scratch.ask(), study.space.distributions())


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_searches_beyond_its_first_random_trials(path, open_study, assert_agreement):
    example = load_study(path)
    startup = example.sampler.startup_trials or _DEFAULT_STARTUP
    study = with_the_toy(example, min(example.trials, startup + _MODELLED))
    assert (study.sampler, study.pruner, study.space) == (example.sampler, example.pruner, example.space)
    opened = open_study(study)
    opened.play()
    records = opened.folder.read_records()
    assert len(records) == study.trials
    assert all(record.state in (TrialState.COMPLETE, TrialState.PRUNED) for record in records)
    last = records[-1]
    assert opened.rows.get_trials()[last.row].params != asked_at_random(study, opened.rows, last.row)
    assert set(last.params) == set(example.space.root)
    assert_agreement(opened.rows, opened.folder, study.metric)
