"""The chance that further trials change the published file: what counts as tried, and what is left."""

import pytest

from loratory.objectives.records import TrialState
from loratory.reports.comparison import compare
from loratory.reports.findings import Findings
from loratory.reports.further_trials import FURTHER_TRIALS, Search, further_trials, progress_of
from loratory.reports.statistics.further_search import chance_of_change
from loratory.reports.verdict import further_line
from loratory.spaces import StudySpec
from loratory.spaces.samplers import SamplerName

TPE, RANDOM, GRID = SamplerName.TPE, SamplerName.RANDOM, SamplerName.GRID


def line(search):
    plain = Findings(published="0001", published_shown="1", ranked=2, value=0.5)
    return further_line(plain.model_copy(update=further_trials(search)))


CHANGE = "would change the published file with a probability of"
TRIED = "Every point of the search space has been tried:"


@pytest.mark.parametrize(
    ("search", "told"),
    [
        (Search(TPE, 12), f"8 further trials {CHANGE} about 51%."),
        (Search(RANDOM, 12), f"8 further trials {CHANGE} 40%."),
        (
            Search(TPE, 12, retrained=True),
            f"8 further trials {CHANGE} at most about 51%. Trainings on new seeds compete with them.",
        ),
        (Search(GRID, 9, left=1), f"1 further trial {CHANGE} 10%."),
        (Search(GRID, 9, left=0), f"{TRIED} no further trial is possible."),
        (Search(TPE, 9, left=0), f"{TRIED} further trials would train one of them again."),
    ],
)
def test_what_is_said(search, told):
    assert line(search) == told


def test_what_runs_and_what_fits_no_worker_is_not_counted(study):
    report = compare(study)
    counts = report.counts
    tried = sum(counts[state] for state in (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
    assert counts[TrialState.RUNNING] and counts[TrialState.INFEASIBLE]
    chance = chance_of_change(tried=tried, further=FURTHER_TRIALS, sampler=TPE)
    assert report.findings.chance_of_change == chance
    assert report.findings.chance_is == "about"


def test_points_that_are_left(study):
    trials = study.read_records()
    plain = study.read_manifest().spec
    assert progress_of(plain, trials, retrained=False).left is None
    choices = {"rank": [4, 8, 16], "batch_size": [8, 16]}
    grid = StudySpec.model_validate(
        plain.model_dump(mode="json") | {"space": choices, "sampler": {"name": "grid"}}
    )
    tried = [
        trial.model_copy(update={"params": {"rank": rank, "batch_size": batch}})
        for trial, (rank, batch) in zip(trials, [(4, 8), (4, 16), (4, 8), (8, 8)], strict=False)
    ]
    assert progress_of(grid, tried, retrained=False).left == 3


def test_trainings_on_new_seeds_make_it_a_bound(retrained):
    assert compare(retrained).findings.chance_is == "at most about"
