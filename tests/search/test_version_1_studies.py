"""Studies that loratory 0.1.0 began: their numbers stay, they go on, and their files are left as they are."""

import json
import tarfile
from pathlib import Path

import pytest

from loratory.objectives.objective import Beginning, Prepared
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.json_view import json_report
from loratory.search import run_study
from loratory.search.main import main
from loratory.search.manifest import as_begun, open_manifest
from loratory.search.status import study_status
from loratory.spaces.errors import InputError
from loratory.spaces.loading import load_study
from loratory.spaces.study import StudySpec

ARCHIVES = Path(__file__).parents[1] / "version_1"
TOY = Path(__file__).parents[2] / "examples" / "toy.yaml"


def unpack(archive: str, into: Path) -> Path:
    with tarfile.open(ARCHIVES / f"{archive}.tar.gz") as file:
        file.extractall(into, filter="data")
    return into


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory) -> Path:
    """`quickstart`, finished, and `quickstart-expected`: what 0.1.0 says of it."""
    return unpack("quickstart", tmp_path_factory.mktemp("quickstart"))


@pytest.fixture
def toy(tmp_path) -> StudyFolder:
    """`toy-v1`, interrupted with one trial under way."""
    unpack("toy-unfinished", tmp_path)
    (tmp_path / "toy-unfinished").rename(tmp_path / "toy-v1")
    return StudyFolder(tmp_path / "toy-v1")


def go_on(folder: StudyFolder, **keys: object):
    overrides = [f"{name}={value}" for name, value in {"name": "toy-v1", "trials": 60, **keys}.items()]
    return run_study(load_study(TOY, overrides), runs=folder.path.parent, local=True)


def contents(folder: StudyFolder) -> dict[str, bytes]:
    return {str(p.relative_to(folder.path)): p.read_bytes() for p in folder.path.rglob("*") if p.is_file()}


def assert_holds(found: object, expected: object, place: str = "") -> None:
    """Everything expected is there with the same value; fields may have been added."""
    if isinstance(expected, dict):
        for name, value in expected.items():
            assert_holds(found[name], value, f"{place}.{name}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), place
        for index, value in enumerate(expected):
            assert_holds(found[index], value, f"{place}.{index}")
    elif isinstance(expected, float):  # `sum` rounds less from Python 3.12 on
        assert found == pytest.approx(expected, rel=1e-14), place
    else:
        assert found == expected, place


def test_the_report_of_a_finished_study_has_the_numbers_that_it_had(quickstart):
    expected = json.loads((quickstart / "quickstart-expected" / "report.json").read_text())
    # Of other procedures now (docs/statistics.md): intervals, and what is said of parameters.
    for replaced in ("report_version", "importance", "uncertainty"):
        del expected[replaced]
    for scores in (*expected["ranking"], expected["base"], *expected["test"]):
        assert scores.pop("interval")
    found = json.loads(json_report(compare(StudyFolder(quickstart / "quickstart"))))
    for trial in found["ranking"]:  # the kept copy has no weights
        trial["reason"], _, missing = trial["reason"].partition("; adapter missing")
        assert missing and trial["adapter"] is None
    for trial in expected["ranking"]:
        assert trial.pop("adapter")
    assert_holds(found, expected)


def test_the_status_of_a_finished_study_has_the_numbers_that_it_had(quickstart):
    expected = json.loads((quickstart / "quickstart-expected" / "status.json").read_text())
    assert_holds(study_status(StudyFolder(quickstart / "quickstart")).model_dump(mode="json"), expected)


def test_an_unfinished_study_goes_on_to_the_end_that_0_1_0_gives_it(toy):
    before = contents(toy)
    finished = {record.key for record in toy.read_records() if record.state.finished}
    assert go_on(toy).interrupted is False
    records, expected = (
        toy.read_records(),
        json.loads((toy.path.parent / "toy-expected/trials.json").read_text()),
    )
    assert [[r.number, r.state, r.params, r.values] for r in records] == expected
    assert len({record.key for record in records}) == len(records) == 61, "60, and one that was infeasible"
    after = contents(toy)
    for name in before:
        if name == "study.json" or any(name.startswith(f"trials/{key}/") for key in finished):
            assert after[name] == before[name], "version 1 is never rewritten"
    versions = [json.loads(after[f"trials/{r.key}/record.json"])["schema_version"] for r in records]
    assert versions == [1] * 35 + [2] * 26
    went_on = records[35]
    assert [(a.attempt, a.end) for a in went_on.attempts] == [(2, "finished")]
    assert go_on(toy).interrupted is False and contents(toy).keys() == after.keys(), "and again: nothing new"


def test_study_json_of_version_1_is_kept_when_another_takes_its_place(toy):
    first = toy.manifest.read_bytes()
    for trials in (60, 61, 62):
        study = as_begun(toy, load_study(TOY, ["name=toy-v1", f"trials={trials}"]))
        open_manifest(toy, study, Prepared(), Beginning.now())
        assert toy.first_manifest.is_file() == (trials > 60), "it stays until it must change"
    assert toy.first_manifest.read_bytes() == first
    manifest = toy.read_manifest()
    assert (manifest.began_with, manifest.spec.trials) == (1, 62)
    assert json.loads(toy.manifest.read_bytes())["schema_version"] == 2


def test_a_study_of_version_1_refuses_another_seed(toy):
    with pytest.raises(InputError, match="seed was 0, is 3"):
        go_on(toy, seed=3)


def test_its_schedule_is_the_one_that_it_began_with_whatever_its_file_says_of_it(toy):
    assert toy.read_manifest().spec.training.schedule == "cosine_nonzero_start"
    go_on(toy, **{"training.schedule": "cosine"})
    records = toy.read_records()
    assert {record.schedule for record in records[35:]} == {"cosine_nonzero_start"}
    with pytest.raises(InputError, match=r"training.schedule was 'cosine_nonzero_start', is 'linear_nonzero"):
        go_on(toy, **{"training.schedule": "linear"})


def as_version_1(folder: StudyFolder, schedules: list[str]) -> None:
    """Give a study that began now the words of version 1; the storage of its rows has them already."""
    manifest = json.loads(folder.manifest.read_text())
    manifest["spec"]["space"]["schedule"] = {"type": "categorical", "choices": schedules}
    for name in ("began_with", "splits", "checks", "checksum"):
        del manifest[name]
    folder.manifest.write_text(json.dumps({**manifest, "schema_version": 1}))
    for record in folder.read_records():
        change(folder.trial(record.key) / "record.json", schema_version=1, schedule=None)


def test_searched_schedules_go_on_in_the_rows_that_they_have(tmp_path):
    schedules = ["cosine", "linear"]
    space = {"learning_rate": {"type": "float", "low": 1e-5, "high": 1e-2}, "schedule": schedules}
    study = StudySpec.model_validate(
        {"name": "s", "objective": "toy", "trials": 6, "space": space, "toy": {}, "pruner": "none"}
    )
    folder = StudyFolder(tmp_path / "s")
    run_study(study, runs=tmp_path, local=True)
    as_version_1(folder, schedules)
    run_study(study.model_copy(update={"trials": 12}), runs=tmp_path, local=True)
    records = folder.read_records()
    assert len(records) == 12
    assert {r.params["schedule"] for r in records} == {"cosine_nonzero_start", "linear_nonzero_start"}
    assert all(record.schedule == record.params["schedule"] for record in records[6:])
    assert compare(folder).importance.trials == 12, "old and new trials are alike"


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (
            lambda f: change(f.manifest, schema_version=3),
            "study.json: schema_version must be at most 2, got 3;",
        ),
        (lambda f: change(f.manifest, spec={}), "study.json: must be a study manifest, is damaged: name: "),
        (
            lambda f: f.manifest.write_text("[]"),
            "study.json: must be a study manifest, is damaged: must be",
        ),
        (lambda f: f.manifest.write_bytes(b"\xff\xfe{"), "study.json: must be a study manifest, is damaged"),
        (lambda f: f.manifest.write_text(""), "study.json: must be a study manifest, is damaged"),
        (
            lambda f: change(f.trial("0003") / "record.json", schema_version=3),
            "0003/record.json: schema_version must be at most 2, got 3; update loratory",
        ),
        (
            lambda f: change(f.trial("0003") / "record.json", state="GONE"),
            "0003/record.json: must be a record, is damaged: state: ",
        ),
        (
            lambda f: (f.trial("0003") / "record.json").write_text('{"schema_version": 1}'),
            "0003/record.json: must be a record, is damaged: number is missing",
        ),
    ],
)
@pytest.mark.parametrize("command", ["status", "report"])
def test_a_newer_or_damaged_file_is_one_line_and_exit_status_1(
    toy, monkeypatch, capsys, command, spoil, words
):
    spoil(toy)
    monkeypatch.setattr("sys.argv", ["loratory", command, str(toy.path)])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr().err
    assert ended.value.code == 1
    assert words in printed and printed.count("\n") == 1
