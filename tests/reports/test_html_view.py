import html
import json
import re
from collections.abc import Callable

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.html_view import html_report

MakeStudy = Callable[..., StudyFolder]


def without_scripts(page: str) -> str:
    return re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)


def test_opens_with_the_answer(study: StudyFolder) -> None:
    page = html_report(compare(study))
    answer = page[page.index('class="card answer"') : page.index("<h2>")]
    for part in ("Trial 7", "0.7747", "better than the untuned base", "learning_rate", "trials/0007/adapter"):
        assert part in answer


def test_a_best_trial_that_gained_nothing_is_not_called_better(study: StudyFolder) -> None:
    report = compare(study)
    best = report.ranking[0].model_copy(update={"gain": 0.0})
    page = html_report(report.model_copy(update={"ranking": (best, *report.ranking[1:])}))
    assert "exactly as the untuned base" in page and "better than" not in page


def test_foreign_text_opens_no_element(study: StudyFolder) -> None:
    page = html_report(compare(study))
    assert page.count("<script") == page.count("</script>") == 3
    body = without_scripts(page)
    assert "<img" not in body
    assert "&lt;img src=x onerror=window.pwned=1&gt;" in body
    assert "{{ 7 * 7 }}" in body
    assert "第一行" in body
    assert "🚀" in body


def test_needs_nothing_from_outside(study: StudyFolder) -> None:
    page = without_scripts(html_report(compare(study)))
    assert not re.findall(r"(?:src|href)=\"(?!\.\./trials/|data:,)", page)
    assert "url(" not in page
    assert "default-src 'none'" in html.unescape(page)


def test_figures_are_strict_json(study: StudyFolder) -> None:
    page = html_report(compare(study))
    (content,) = re.findall(r'<script type="application/json" id="figures">(.*?)</script>', page, re.DOTALL)
    figures = json.loads(content, parse_constant=lambda name: (_ for _ in ()).throw(ValueError(name)))
    assert [f["name"] for f in figures][:6] == ["set", "scores", "history", "dev", "loss", "slice-0"]


def test_very_long_answers_do_not_swell_the_page(study: StudyFolder) -> None:
    assert len(html_report(compare(study))) < 5_400_000


def test_says_how_each_metric_is_computed(study: StudyFolder) -> None:
    report = compare(study)
    page = html.unescape(without_scripts(html_report(report)))
    assert len(report.signatures) == 4
    assert all(f"<code>{signature}</code>" in page for signature in report.signatures.values())


def test_study_without_results_still_makes_a_page(make_study: MakeStudy) -> None:
    page = html_report(compare(make_study([], base=False, test=False)))
    assert "No trial is ranked" in page
    assert "no trial yet" in page


def test_study_without_a_base_claims_no_gain(make_study: MakeStudy) -> None:
    page = without_scripts(html_report(compare(make_study(base=False, test=False))))
    assert "untuned base" not in page
    assert "over base" not in page
