"""The verdict as the study's note in optuna-dashboard, written through Optuna's own storage.

The keys are those of optuna-dashboard's `save_note`: a version that grows by one, and the text in parts,
since storages limit the length of a value.
"""

import optuna

from loratory.reports.markdown import escaped
from loratory.reports.verdict_file import StudyVerdict

HEADING = "## Verdict (by loratory, replaced after each run)"
"""First line of our part of the note. What people wrote above and below it stays."""

_VERSION, _PART = "dashboard:note_ver", "dashboard:note_str:"
_OWN_PART = "loratory:note_str:"
"""Our part as it was last written, by which it is told from what people wrote below it."""
_LONGEST_PART = 2045


def keep_note(rows: optuna.Study, found: StudyVerdict) -> None:
    """Write the verdict into the study's note where it has another one."""
    kept, own = read_note(rows), "\n\n".join([HEADING, *map(escaped, found.lines)])
    above, heading, rest = kept.partition(HEADING)
    below = _without_ours(heading + rest, _read(rows, _OWN_PART))
    note = "\n\n".join(part for part in (above.rstrip(), own, below) if part)
    if note != kept:
        # Ours first: after a crash in between, what it lacks of the note counts as written by people.
        _write(rows, _OWN_PART, own)
        _write(rows, _PART, note)
        version = rows._storage.get_study_system_attrs(rows._study_id).get(_VERSION, 0)
        rows._storage.set_study_system_attr(rows._study_id, _VERSION, int(version) + 1)


def read_note(rows: optuna.Study) -> str:
    """Return the study's note; empty if it has none."""
    return _read(rows, _PART)


def _without_ours(text: str, written: str) -> str:
    """Return what people wrote in or below our part of the note.

    Args:
        text: the note from our heading on.
        written: our part as it was last written; empty where it is not known: then all of it is ours.
    """
    if not written or text.startswith(written):
        return text[len(written) :].strip() if written else ""
    ours = set(written.split("\n\n"))
    return "\n\n".join(part for part in text.split("\n\n") if part.strip() and part not in ours).strip()


def _read(rows: optuna.Study, prefix: str) -> str:
    attributes = rows._storage.get_study_system_attrs(rows._study_id)
    parts = sum(name.startswith(prefix) for name in attributes)
    return "".join(attributes.get(f"{prefix}{index}", "") for index in range(parts))


def _write(rows: optuna.Study, prefix: str, text: str) -> None:
    storage, study = rows._storage, rows._study_id
    parts = [text[start : start + _LONGEST_PART] for start in range(0, len(text), _LONGEST_PART)]
    # Parts of a longer text before it become empty, as in `save_note`.
    attributes = storage.get_study_system_attrs(study)
    parts += [""] * (sum(name.startswith(prefix) for name in attributes) - len(parts))
    for index, part in enumerate(parts):
        storage.set_study_system_attr(study, f"{prefix}{index}", part)
