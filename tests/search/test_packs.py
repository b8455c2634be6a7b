"""Several trials on one worker, in a thread and on Ray: each runs once, whatever its neighbours do."""

import io

import pytest
from rich.console import Console

from loratory.search import run_study
from loratory.search.optuna_rows import open_rows


def test_a_pack_runs_every_trial_once_and_a_larger_one_goes_on(toy_study, tmp_path, assert_agreement):
    faults = {"oom": 0.05, "diverge": 0.05, "flaky": 0.1}
    study = toy_study(trials=12, toy={"faults": faults, "evaluations_per_checkpoint": 2})
    console = Console(file=io.StringIO(), width=200)
    for trials, slots in ((12, 4), (24, 6)):
        packed = study.model_validate(
            study.model_dump() | {"trials": trials, "packing": {"slots": slots}},
        )
        result = run_study(packed, runs=tmp_path, local=True, console=console)
    records = result.folder.read_records()
    states = [record.state for record in records]
    assert all(state.finished for state in states)
    assert len(states) - states.count("INFEASIBLE") == 24
    assert {"COMPLETE", "PRUNED"} <= set(states)
    assert max(record.resources.pack_size for record in records[:12]) == 4
    assert max(record.resources.pack_size for record in records) == 6
    text = console.file.getvalue()
    assert "up to 4 trials at once, on 1 worker; some of them may wait" in text
    assert all(
        text.count(f"trial {record.number:>3}  started: ") == 1 for record in records if not record.failures
    )
    assert_agreement(open_rows(result.folder, result.folder.read_manifest()), result.folder)


@pytest.mark.parametrize("exits", [0.0, 0.1])
def test_two_ray_workers_of_four_slots(exits, toy_study, tmp_path, assert_agreement):
    toy = {"faults": {"exit": exits}, "evaluations_per_checkpoint": 3, "seconds_per_evaluation": 0.02}
    study = toy_study(
        trials=22, packing={"slots": 4}, resources={"workers": 2, "cpus_per_worker": 0.5}, toy=toy
    )
    result = run_study(study, runs=tmp_path)
    records = result.folder.read_records()
    assert len(records) == 22
    assert {record.state for record in records} == {"COMPLETE", "PRUNED"}
    assert max(record.resources.pack_size for record in records) == 4
    lost = [failure for record in records for failure in record.failures]
    assert {failure.kind for failure in lost} == ({"worker_lost"} if exits else set())
    assert_agreement(open_rows(result.folder, result.folder.read_manifest()), result.folder)
