import pytest

from loratory.search.pruners import build_pruner
from loratory.spaces.pruners import PrunerName


@pytest.mark.parametrize("name", list(PrunerName))
def test_every_pruner_carries_a_study_to_its_end(name, toy_study, open_study, assert_agreement):
    opened = open_study(toy_study(trials=12, pruner={"name": name, "startup_trials": 2}))
    opened.play()
    assert_agreement(opened.rows, opened.folder)
    pruned = [r for r in opened.folder.read_records() if r.state == "PRUNED"]
    assert bool(pruned) is (name not in (PrunerName.NONE, PrunerName.PATIENT))


def test_no_trial_is_pruned_within_the_warm_up(toy_study, open_study):
    pruner = {"name": "median", "startup_trials": 1, "warmup_evaluations": 2}
    opened = open_study(toy_study(trials=15, pruner=pruner))
    opened.play()
    steps = {len(r.measurements) for r in opened.folder.read_records() if r.state == "PRUNED"}
    assert steps == {3}


def test_hyperband_counts_evaluations_and_not_examples(toy_study):
    pruner = build_pruner(toy_study(pruner="hyperband", evaluation={"evaluations": 9}))
    assert (pruner._min_resource, pruner._max_resource) == (1, 9)
