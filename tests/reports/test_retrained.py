"""Settings trained again on new seeds, in every view, and their adapters as what is published."""

import csv
import io
import json
import re

import numpy as np
import pytest
from rich.console import Console

from loratory.objectives.records import TrialState
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.csv_view import csv_report
from loratory.reports.html_view import html_report
from loratory.reports.json_view import json_report
from loratory.reports.markdown_view import markdown_report
from loratory.reports.publishing import stage
from loratory.reports.retrained_words import retrained_title
from loratory.reports.table import ranking_table
from loratory.spaces.errors import InputError


def terminal(folder: StudyFolder, width: int = 80) -> str:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(ranking_table(compare(folder)))
    return console.export_text()


def test_each_setting_has_its_new_seeds_alone(retrained):
    found = compare(retrained).retrained
    assert [(s.number, s.rank_before, s.rank_after) for s in found.settings] == [(10, 2, 1), (7, 1, 2)]
    ten, seven = found.settings
    values = [retrained.read_record(f"confirm/0007-{index}").values[0] for index in (1, 2, 3)]
    assert seven.values == tuple(values)
    assert (seven.mean, seven.sd) == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    assert (seven.low, seven.high) == (min(values), max(values))
    half = 4.302653 * seven.sd * np.sqrt(4 / 3)  # t with two degrees of freedom
    assert seven.next_training.high - seven.mean == pytest.approx(half, rel=1e-6)
    assert seven.value_before == compare(retrained).best.value not in values
    assert [run.shown for run in ten.runs] == ["confirm/0010-1", "confirm/0010-2"]
    assert [run.key for run in ten.unscored] == ["confirm/0010-3"]
    assert found.device_seconds == 6 * 40.0
    assert retrained_title(found) == "Retrained 2 settings on 3 new seeds"


def test_what_the_comparison_says_of_the_search_does_not_change(retrained, pristine_study):
    of_all = dict.fromkeys(("retrained", "choice", "findings", "verdict", "samples", "confirm"))
    of_all |= dict.fromkeys(("ranks_by_metric", "pareto_fronts"), ())
    found, searched = (compare(folder) for folder in (retrained, pristine_study))
    # A training anew has the best value of all now: the intervals of the search's best allow for no choice.
    assert searched.ranking[0].picked and not found.ranking[0].picked
    alone = {"interval": None, "gain_interval": None, "picked": False}
    found, searched = (
        each.model_copy(
            update=of_all | {"ranking": (each.ranking[0].model_copy(update=alone), *each.ranking[1:])}
        )
        for each in (found, searched)
    )
    assert found == searched


def test_trainings_anew_may_be_published(retrained, pristine_study):
    report = compare(retrained)
    best = max(report.scored, key=lambda trial: trial.value)
    assert best.key == "confirm/0010-2"
    assert (report.winner, report.choice.key, report.findings.published) == (best, best.key, best.key)
    assert report.findings.ranked == len(report.ranking) + len(report.retrained.runs)
    assert "test" in {gain.split for gain in compare(pristine_study).findings.gains}
    assert "test" not in {gain.split for gain in report.findings.gains}  # it was another adapter's
    for text in (markdown_report(report), html_report(report), terminal(retrained, 200)):
        assert "Published is trial confirm/0010-2, the best on eval.select" in text


def test_without_them_every_view_says_what_single_runs_can_rank(study):
    report = compare(study)
    assert report.retrained is None and json.loads(json_report(report))["retrained"] is None
    for text in (markdown_report(report), html_report(report)):
        assert "One run each ranks files, not settings." in text
        assert "loratory confirm" in text and "Retrained settings" not in text
    assert "etrained" not in terminal(study)


def test_markdown_has_the_table_and_its_words(retrained):
    text = markdown_report(compare(retrained))
    section = text.split("## Retrained settings")[1].split("\n## ")[0]
    assert "One run each ranks files, not settings. Retrained 2 settings on 3 new seeds." in section
    assert "the settings of trial 10 come first; first in the search is trial 7." in section
    assert re.search(r"\| trial 10 \| 2 \| 1 \| 0\.\d{4} \| 0\.\d{4}, 0\.\d{4} \|", section)
    assert r"Without a score, and in no mean: confirm/0010-3 (diverged: loss is nan \<b\>\| =1+1)." in section
    assert "tied" not in section and "significant" not in section, (
        "settings are never tested against each other"
    )


def test_the_page_has_the_table_and_the_texts_are_text(retrained):
    page = html_report(compare(retrained))
    table = page.split('<table id="retrained">')[1].split("</table>")[0]
    heads = re.findall(r"<th[^>]*>(.*?)</th>", table)
    assert heads[5:] == ["mean", "sd", "range", "next training"]
    assert [row.count("<td") for row in table.split("<tr")[2:]] == [9, 9]
    assert "loss is nan &lt;b&gt;" in page and "loss is nan <b>" not in page


def test_the_terminal_has_the_table_in_80_columns(retrained):
    text = terminal(retrained)
    assert "Retrained 2 settings on 3 new seeds" in text
    assert max(map(len, text.splitlines())) <= 80
    (row,) = [line for line in text.splitlines() if re.match(r"\s*trial 10 +2 +1 ", line)]
    assert "…" not in row and row.count("–") == 2


def test_json_has_every_number_and_csv_only_the_trials(retrained):
    found = json.loads(json_report(compare(retrained)))["retrained"]
    assert {"mean", "sd", "low", "high", "next_training", "values"} <= found["settings"][0].keys()
    rows = list(csv.DictReader(io.StringIO(csv_report(compare(retrained)))))
    assert len(rows) == 12


def test_one_seed_has_a_mean_and_no_spread(study, retrain):
    retrain(study, 7, 1)
    (settings,) = compare(study).retrained.settings
    assert settings.mean == settings.values[0]
    assert (settings.sd, settings.next_training) == (None, None)
    assert "trial 7 is also first in the search" in markdown_report(compare(study))
    assert "Retrained 1 setting on 1 new seed" in terminal(study)


def test_trainings_under_way_are_provisional_and_need_no_score(study, retrain):
    retrain(study, 7, 1, state=TrialState.RUNNING, reason="")
    found = compare(study).retrained
    assert found.provisional and found.settings[0].rank_after is None
    for text in (markdown_report(compare(study)), html_report(compare(study)), terminal(study)):
        assert "not finished" in text


def test_settings_of_a_trial_that_has_no_rank_any_more_have_none_before(study, retrain):
    retrain(study, 2, 1)
    (settings,) = compare(study).retrained.settings
    assert (settings.rank_before, settings.value_before, settings.rank_after) == (None, None, 1)


def test_an_adapter_trained_again_is_published_by_its_key(retrained):
    staged = stage(retrained, trial="confirm/0010-2", repo_id="me/again")
    assert (staged.key, staged.trial, staged.shown) == ("confirm/0010-2", 10, "confirm/0010-2")
    assert "adapter of trial confirm/0010-2 on acme/tiny-llama" in staged.lines()[0]
    card = (staged.path / "README.md").read_text()
    assert (
        "the settings of trial 10 of 7 complete trials of a hyperparameter search, trained again on" in card
    )
    value = retrained.read_record("confirm/0010-2").values[0]
    assert f"**{value:.4f}**" in card and f"value: {value!r}" in card
    assert "Published: trial confirm/0010-2." in card and "seed 1002" in card
    assert "among the first of 12 compared" in card and "`test` is scored once" not in card
    assert "trial confirm/0010-2 (published)" in card


@pytest.mark.parametrize("name", ["7", "0007", 7])
def test_a_trial_of_the_search_is_published_by_number_or_key(retrained, name):
    assert stage(retrained, trial=name, repo_id="me/it").key == "0007"


def test_what_cannot_be_published_says_what_can(retrained):
    with pytest.raises(InputError, match=r"ranked are: 7, 10.*; retrained: confirm/0010-1, confirm/0010-2"):
        stage(retrained, trial="confirm/0010-3", repo_id="me/it")


def test_the_next_training_is_told_within_the_range_of_the_metric(study, retrain):
    for index, skill in enumerate((0.95, 0.1), start=1):
        retrain(study, 7, index, skill=skill)
    (settings,) = compare(study).retrained.settings
    assert (settings.next_training.low, settings.next_training.high) == (0.0, 1.0)
