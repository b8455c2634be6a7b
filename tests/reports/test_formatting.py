import pytest

from loratory.objectives.records import TrialState
from loratory.reports import formatting
from loratory.reports.findings import Interval
from loratory.reports.formatting import between


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, "–"), (2.34, "2.3 s"), (59.4, "59 s"), (125, "2 min 05 s"), (3600 * 27 + 120, "27 h 02 min")],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert formatting.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(None, "–"), (0, "–"), (512, "512 bytes"), (2**20, "1 MiB"), (3 * 2**30, "3.0 GiB")]
)
def test_size(count: int | None, text: str) -> None:
    assert formatting.size(count) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.12345, "0.1235"), (34.567, "34.57"), (float("-0.5"), "-0.5000")]
)
def test_score(value: float | None, text: str) -> None:
    assert formatting.score(value) == text


def test_signed_and_parameters() -> None:
    assert formatting.signed(0.5) == "+0.5000"
    assert formatting.signed(-0.5) == "−0.5000"
    assert formatting.parameter(["q_proj", 1e-4]) == "q_proj, 0.0001"


def test_counts_leave_out_none() -> None:
    counts = dict.fromkeys(TrialState, 0) | {TrialState.FAIL: 2, TrialState.COMPLETE: 3}
    assert formatting.counts(counts) == "3 complete, 2 failed"


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, ""),
        (1, "1 infeasible trial was predicted to fit no worker and not started"),
        (7, "7 infeasible trials were predicted to fit no worker and not started"),
    ],
)
def test_trials_that_never_started(count: int, words: str) -> None:
    assert formatting.never_started(count) == words


def test_intervals_have_one_notation() -> None:
    assert between(Interval(low=-0.1, high=0.25)) == "[−0.1000, 0.2500]"
    assert between(None) == "–"


def test_estimated_numbers_have_two_digits() -> None:
    told = {3: "3", 47: "47", 669: "670", 10_605: "11,000", 665_309: "670,000"}
    assert {number: formatting.about(number) for number in told} == told
