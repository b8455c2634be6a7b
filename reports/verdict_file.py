"""verdict.json: what the last run's report says of the published trial, for trackers and programs."""

from pydantic import ValidationError

from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.study_folder import StudyFolder
from loratory.reports.comparison_report import Choice, PublishAdvice
from loratory.reports.findings import Findings
from loratory.spaces.frozen import Frozen


class StudyVerdict(Frozen):
    """The findings of a study, in numbers and in words; the content of verdict.json."""

    findings: Findings | None = None
    """Statements on the published adapter; null if no trial is ranked."""
    choice: Choice | None = None
    """The trial whose adapter is published; null if no trial is ranked."""
    verdict: tuple[str, ...] = ()
    """The findings in sentences."""
    published: str = ""
    """Which adapter is published, why, and the interval of its score; empty if no trial is ranked."""
    further: str = ""
    """How likely further trials change the published file, and what more examples would tell; empty if no
    trial is ranked."""
    publish: PublishAdvice | None = None
    """How its adapter is published; null if no trial is ranked."""
    provisional: bool = False
    """True if trials are unfinished, so that all of it may change."""

    @property
    def lines(self) -> tuple[str, ...]:
        """All sentences."""
        so_far = "Not all trials are finished: all of this is provisional." if self.provisional else ""
        return (*self.verdict, *(line for line in (self.published, self.further, so_far) if line))


def read_verdict(folder: StudyFolder) -> StudyVerdict | None:
    """Return the verdict that was last written; None where there is none, or none that can be read."""
    try:
        return StudyVerdict.model_validate_json(folder.verdict.read_bytes())
    except (OSError, ValidationError):
        return None


def write_verdict(folder: StudyFolder, found: StudyVerdict) -> None:
    """Replace the verdict atomically."""
    write_atomically(folder.verdict, found.model_dump_json(indent=1).encode())


def published_in(folder: StudyFolder) -> str | None:
    """Return the key of the trial that the last written verdict publishes; None without one."""
    found = read_verdict(folder)
    return found.choice.key if found is not None and found.choice is not None else None
