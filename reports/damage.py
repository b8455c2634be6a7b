"""Files of scores that are damaged: views leave them out, and say so."""

from collections.abc import Mapping

from loratory.objectives.study_folder import BASE, SCORES, StudyFolder
from loratory.reports.score_files import read_tables

_MOST_NAMED = 3


def damaged_files(folder: StudyFolder, select: Mapping[str, str]) -> dict[str, str]:
    """Return what is wrong with each damaged file of scores, by its place in the study folder.

    Args:
        folder: the study folder.
        select: what is wrong with scores on eval.select, by key of the trial or the base.
    """
    folders = {folder.score(key) if key == BASE else folder.trial(key): why for key, why in select.items()}
    scorings = [
        path.parent for part in ("confirm", "test") for path in folder.score(part).glob(f"*/{SCORES}")
    ]
    of_scorings = read_tables({str(path): path for path in sorted(scorings)}).damaged
    folders |= {path: of_scorings[str(path)] for path in scorings if str(path) in of_scorings}
    return {(path / SCORES).relative_to(folder.path).as_posix(): why for path, why in folders.items()}


def damage_line(damaged: Mapping[str, str]) -> str:
    """Return a sentence on the damaged files; empty where there are none."""
    if not damaged:
        return ""
    named = [f"{place} ({why})" for place, why in list(damaged.items())[:_MOST_NAMED]]
    more = len(damaged) - len(named)
    others = f" and {more} more" if more else ""
    return f"Damaged, and left out until restored: {', '.join(named)}{others}."
