"""Write the comparison of studies in all formats."""

import json
from pathlib import Path

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.studies.html_view import studies_html
from loratory.reports.studies.markdown_view import studies_markdown
from loratory.reports.studies.studies_report import StudiesReport
from loratory.spaces.errors import InputError

HTML = "studies.html"


def studies_json(report: StudiesReport) -> str:
    """Return the comparison as strict JSON (no NaN, no Infinity) with the keys of `StudiesReport`."""
    return json.dumps(report.model_dump(mode="json"), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def write_studies_report(report: StudiesReport, into: Path) -> Path:
    """Write studies.html, studies.md and studies.json into a folder.

    Args:
        report: the comparison.
        into: the folder, which is made; no study folder.

    Returns:
        Path of studies.html.

    Raises:
        InputError: the folder is a study's, or cannot be made.
    """
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(
            f"--output: must be a folder that can be made, got {into}: {error.strerror}"
        ) from error
    if StudyFolder(into).manifest.exists():
        raise InputError(f"{into}: must not be a study folder, which holds its own study alone; set --output")
    texts = {
        "studies.json": studies_json(report),
        "studies.md": studies_markdown(report),
        HTML: studies_html(report),
    }
    for name, text in texts.items():
        write_atomically(into / name, text.encode("utf-8"))
    return into / HTML
