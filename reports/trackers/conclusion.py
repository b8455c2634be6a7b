"""What trackers add to the published trial's run once the study has a verdict. Read from the study folder."""

import hashlib
import json
from typing import Any

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.verdict_file import StudyVerdict, read_verdict
from loratory.spaces.frozen import Frozen

_NUMBERS = ("shortfall", "optimism", "detectable_difference", "chance_of_change", "further_trials")

NO_LONGER_PUBLISHED = {"published": False, "verdict": "The study publishes another trial now."}
"""Entries of a run that had a conclusion and has none any more."""


class Conclusion(Frozen):
    """Summary entries of one run; empty for a trial that is not published."""

    entries: dict[str, Any] = {}
    """Plain values by name."""

    @property
    def digest(self) -> str:
        """Hash by which a marker tells whether a run has these entries; empty where there are none."""
        if not self.entries:
            return ""
        return hashlib.sha256(json.dumps(self.entries, sort_keys=True).encode()).hexdigest()[:16]

    @property
    def text(self) -> str:
        """The verdict in words."""
        return str(self.entries.get("verdict", ""))


def read_conclusion(folder: StudyFolder, key: str) -> Conclusion:
    """Return what the run of a trial says of the study's verdict.

    Args:
        folder: the study folder; a verdict that is missing or cannot be read counts as none.
        key: key of the trial.
    """
    found = read_verdict(folder)
    if found is None or found.choice is None or found.choice.key != key:
        return Conclusion()
    return Conclusion(entries=_entries(found))


def _entries(found: StudyVerdict) -> dict[str, Any]:
    entries: dict[str, Any] = {"published": True, "verdict": " ".join(found.lines)}
    if (findings := found.findings) is None:
        return entries
    named = {name: getattr(findings, name) for name in _NUMBERS}
    named["may_be_best"] = ", ".join(member.shown for member in findings.may_be_best) or None
    for gain in findings.gains:
        named[f"{gain.split}/gain"] = gain.gain
        if gain.interval is not None:
            named[f"{gain.split}/gain_low"] = gain.interval.low
            named[f"{gain.split}/gain_high"] = gain.interval.high
    return entries | {name: value for name, value in named.items() if value is not None}
