from collections.abc import Callable

import pytest
from rich.console import Console

from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import TEST_WINNER, StudyFolder, later_look_key
from loratory.reports.comparison import compare
from loratory.reports.html_view import html_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.table import ranking_rows, ranking_table


def printed(study: StudyFolder, width: int = 100, limit: int | None = 20) -> str:
    console = Console(width=width, force_terminal=False)
    with console.capture() as capture:
        console.print(ranking_table(compare(study), limit=limit))
    return capture.get()


def test_rows_are_ranked_trials_then_the_others(study: StudyFolder) -> None:
    rows = ranking_rows(compare(study))
    assert [row["number"] for row in rows] == ["7", "10", "1", "3", "5", "9", "0", "2", "4", "6", "8", "11"]
    assert rows[0]["value"] == "0.7747"
    assert rows[7]["rank"] == "pruned"
    assert rows[7]["value"] == "–"


def tied_study(make_study: Callable[..., StudyFolder], count: int) -> StudyFolder:
    """Trials that all score 0.5 exactly, but for the last, which is worse."""
    study = make_study([(n, TrialState.COMPLETE, 0.5, 1e-3, 8, 8, "all-linear") for n in range(count)])
    for record in study.read_records():
        value = 0.4 if record.number == count - 1 else 0.5
        study.write_record(record.model_copy(update={"values": [value]}))
    return study


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (3, "Trial 1 has exactly the ROUGE-L of trial 0"),
        (5, "Trials 1, 2 and 3 have exactly the ROUGE-L of trial 0"),
        (9, "Trials 1, 2, 3, 4 and 3 more have exactly the ROUGE-L of trial 0"),
    ],
)
def test_trials_as_good_as_the_best_are_named(
    make_study: Callable[..., StudyFolder], count: int, words: str
) -> None:
    study = tied_study(make_study, count)
    assert words in printed(study)
    assert words in markdown_report(compare(study)) and words in html_report(compare(study))


def test_no_tie_is_told_where_there_is_none(
    pristine_study: StudyFolder, make_study: Callable[..., StudyFolder]
) -> None:
    for folder in (pristine_study, make_study([])):
        report = compare(folder)
        for text in (printed(folder), markdown_report(report), html_report(report)):
            assert "of equals" not in text


def test_prints_base_median_and_best(study: StudyFolder) -> None:
    text = printed(study)
    for part in ("untuned base", "trial 3 (median)", "trial 7 (best)", "7 complete, 1 unfinished, 2 pruned"):
        assert part in text
    assert "trial 8: needs 92 GiB" in text


@pytest.mark.parametrize("width", [60, 80, 200])
def test_fits_the_terminal(study: StudyFolder, width: int) -> None:
    assert max(len(line) for line in printed(study, width).splitlines()) <= width


def test_cuts_no_number_at_eighty_columns(study: StudyFolder) -> None:
    text = printed(study, 80)
    assert "…" not in text
    for part in ("+0.4964", "0.0015", "infeasible", "all-linear"):
        assert part in text


def heads(text: str) -> str:
    """The first line of the headings of the table of models."""
    return next(line for line in text.splitlines() if "untuned base" in line)


def test_earlier_looks_at_test_are_a_line_and_no_column(study: StudyFolder) -> None:
    first = study.read_score(TEST_WINNER)
    assert first is not None and first.trial == "0007"
    study.write_score(first.model_copy(update={"trial": "0010", "number": 10}))
    assert "trial 10" in heads(printed(study, width=200)), "the published one has no score on test yet"
    later = later_look_key("0007")
    study.write_score(first.model_copy(update={"key": later, "scored_at": "2026-01-02T03:04:05+00:00"}))
    text = printed(study, width=200)
    assert "Test was looked at twice: first for trial 10." in text
    assert "trial 10" not in heads(text) and heads(text).count("trial 7") == 2


def test_limit_says_how_many_are_hidden(study: StudyFolder) -> None:
    assert "6 more in trials.csv" in printed(study, limit=3)
    assert "more in" not in printed(study, limit=7)


def test_brackets_in_a_reason_are_no_style(make_study: Callable[..., StudyFolder]) -> None:
    folder = make_study()
    record = folder.read_records()[4]
    folder.write_record(record.model_copy(update={"reason": "[red]bad[/red] [/]"}))
    assert "[red]bad[/red] [/]" in printed(folder)


def test_study_without_results_prints(make_study: Callable[..., StudyFolder]) -> None:
    assert "no trial yet" in printed(make_study([], base=False, test=False))
