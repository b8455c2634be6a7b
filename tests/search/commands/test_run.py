"""The exit status of `loratory run`, and its last words."""

import pytest
import typer

from loratory.search.commands.run import run_to_end


def test_a_study_with_a_scored_trial_ends_well(toy_study, tmp_path):
    run_to_end(toy_study(trials=1), runs=tmp_path, local=True)


def test_a_study_of_failures_alone_says_why_and_ends_with_status_1(toy_study, tmp_path, capsys):
    study = toy_study(trials=2, attempts=1, toy={"faults": {"crash": 1.0}})
    for _ in range(2):  # and once more where nothing is left to do
        with pytest.raises(typer.Exit) as ended:
            run_to_end(study, runs=tmp_path, local=True)
        assert ended.value.exit_code == 1
        line = capsys.readouterr().err.strip()
        assert line.startswith("toy: no trial was scored: 2 FAIL, the last by: ")
        assert "injected fault: crash; mend the cause, then raise trials" in line
        assert "\n" not in line
