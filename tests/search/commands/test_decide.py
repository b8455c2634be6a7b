"""`loratory decide` on a kept study: 12 trials, 8 of them scored on 150 examples of 30 groups."""

import json
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest
import typer

from loratory.objectives.scores import ScoreTable
from loratory.search.commands.decide import decide
from loratory.spaces.errors import InputError

ARCHIVE = Path(__file__).parents[2] / "version_1" / "quickstart.tar.gz"


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    into = tmp_path_factory.mktemp("studies")
    with tarfile.open(ARCHIVE) as packed:
        packed.extractall(into, filter="data")
    return into / "quickstart"


def decided(*arguments, **options):
    with pytest.raises(typer.Exit) as ended:
        decide(*arguments, **options)
    return ended.value.exit_code


@pytest.mark.parametrize(
    ("first", "second", "status", "head"),
    [
        ("11", "base", 0, "trial 11 is better than the base: ROUGE-L 0.2531 against 0.0684 on select"),
        ("base", "0011", 4, "the base is worse than trial 11: ROUGE-L 0.0684 against 0.2531 on select"),
        ("trial 11", "BASE", 0, "trial 11 is better than the base: ROUGE-L 0.2531 against 0.0684 on select"),
        ("#11", "base", 0, "trial 11 is better than the base: ROUGE-L 0.2531 against 0.0684 on select"),
        ("published", "base", 0, "trial 11 is better than the base: ROUGE-L 0.2531 against 0.0684 on select"),
        ("8", "6", 3, "cannot tell trial 8 from trial 6: ROUGE-L 0.2494 against 0.2419 on select"),
    ],
)
def test_verdict_and_exit_status(study, capsys, first, second, status, head):
    assert decided(study, first, second) == status
    assert capsys.readouterr().out.splitlines()[0] == head


def test_sentences(study, capsys):
    decided(study, "11", "8")
    lines = capsys.readouterr().out.splitlines()
    assert lines[1] == "gain +0.0037 [−0.0190, +0.0264], 95%, paired over 150 examples in 30 groups"
    assert lines[2] == "some 11,000 examples would tell a difference of this size"
    assert lines[3].startswith("trial 11 was picked on these examples")
    assert lines[4] == "one training run each: this compares adapters, not their settings"


def test_lines_fit_a_terminal_of_80_columns(study, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("FORCE_COLOR", "1")  # as a terminal
    short = Path(shutil.copytree(study, study.parent / "q"))
    monkeypatch.chdir(short.parent)
    decided(Path("q"), "11", "8")
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 6 and max(map(len, lines)) <= 80


def test_json(study, capsys):
    decided(study, "11", "base", as_json=True)
    found = json.loads(capsys.readouterr().out)
    assert (found["verdict"], found["unit"], found["units"], found["examples"]) == (
        "better",
        "group",
        30,
        150,
    )
    assert found["interval"][0] < found["gain"] < found["interval"][1]
    assert found["picked_on_these_examples"] == ["trial 11"]


@pytest.mark.parametrize(
    ("second", "message"),
    [
        ("99", "must name a finished trial or `base`, got '99'; finished: 0, 1, 2, 3, 6, 8, 9, 11"),
        ("../base", "must name a finished trial or `base`, got '../base'"),
        ("4", "trial 4 has no scores on select \\(pruned\\)"),
        ("best", "got 'best'; finished: .*; `published` is what the study publishes; or the folder of"),
        (None, r"decide takes two trials of a study, such as `loratory decide \S+ 11 base`"),
    ],
)
def test_bad_input(study, second, message):
    with pytest.raises(InputError, match=message):
        decide(study, "11", second)


def test_two_studies(study, tmp_path, capsys):
    other = tmp_path / "other"
    shutil.copytree(study, other)
    assert decided(study, str(other)) == 3
    assert capsys.readouterr().out.startswith(f"cannot tell trial 11 of {study} from trial 11 of {other}")
    scores = other / "trials" / "0011" / "scores.npz"
    table = ScoreTable.from_bytes(scores.read_bytes())
    scores.write_bytes(replace(table, signatures={"rougeL": "stemmed"}).to_bytes())
    with pytest.raises(InputError, match=r"must be scored alike; rougeL was computed as .* and as 'stemmed'"):
        decide(study, str(other))
    ids = tuple(f"x{name}" for name in table.example_ids)
    scores.write_bytes(replace(table, example_ids=ids).to_bytes())
    with pytest.raises(InputError, match="same examples; 0 of 150 and 150 are shared"):
        decide(study, str(other))
