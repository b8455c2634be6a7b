"""The verdict as the study's note in optuna-dashboard, written through Optuna's own storage.

The keys are those of optuna-dashboard's `save_note`: a version that grows by one, and the text in parts,
since storages limit the length of a value.
"""

import optuna

from loratory.reports.markdown import escaped
from loratory.reports.verdict_file import StudyVerdict

HEADING = "## Verdict (by loratory, replaced after each run)"
"""First line of our part of the note. What people wrote above it stays."""

_VERSION, _PART = "dashboard:note_ver", "dashboard:note_str:"
_LONGEST_PART = 2045


def keep_note(rows: optuna.Study, found: StudyVerdict) -> None:
    """Write the verdict into the study's note where it has another one."""
    kept = read_note(rows)
    above = kept.partition(HEADING)[0].rstrip()
    note = "\n\n".join([*([above] if above else []), HEADING, *map(escaped, found.lines)])
    if note != kept:
        _write(rows, note)


def read_note(rows: optuna.Study) -> str:
    """Return the study's note; empty if it has none."""
    attributes = rows._storage.get_study_system_attrs(rows._study_id)
    parts = sum(name.startswith(_PART) for name in attributes)
    return "".join(attributes.get(f"{_PART}{index}", "") for index in range(parts))


def _write(rows: optuna.Study, note: str) -> None:
    storage, study = rows._storage, rows._study_id
    attributes = storage.get_study_system_attrs(study)
    parts = [note[start : start + _LONGEST_PART] for start in range(0, len(note), _LONGEST_PART)]
    # Parts of a longer note before it become empty, as in `save_note`.
    parts += [""] * (sum(name.startswith(_PART) for name in attributes) - len(parts))
    for index, part in enumerate(parts):
        storage.set_study_system_attr(study, f"{_PART}{index}", part)
    storage.set_study_system_attr(study, _VERSION, int(attributes.get(_VERSION, 0)) + 1)
