from pathlib import Path

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison import compare
from loratory.reports.verdict_file import read_verdict
from loratory.reports.writing import write_report


def test_writes_four_files_and_nothing_else(study: StudyFolder) -> None:
    path = write_report(study)
    assert path == study.report / "report.html"
    assert sorted(found.name for found in study.report.iterdir()) == [
        "report.html",
        "report.json",
        "report.md",
        "trials.csv",
    ]


def test_the_verdict_is_renewed_with_the_report(study: StudyFolder) -> None:
    report = compare(study)
    assert read_verdict(study) is None
    write_report(study)
    found = read_verdict(study)
    assert found is not None and found.choice == report.choice and found.verdict == report.verdict


def test_the_same_study_gives_the_same_bytes(study: StudyFolder) -> None:
    def contents() -> dict[str, bytes]:
        write_report(study)
        return {path.name: path.read_bytes() for path in Path(study.report).iterdir()}

    assert contents() == contents()


def test_reads_neither_the_optuna_storage_nor_wandb(study: StudyFolder) -> None:
    study.database.write_bytes(b"not a database")
    (study.path / "wandb").mkdir()
    assert write_report(study).is_file()
