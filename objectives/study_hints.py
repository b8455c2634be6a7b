"""Where the study is that a user meant who named another folder or a file."""

from pathlib import Path

_MANIFEST = "study.json"
_USUAL = Path("runs")
_MOST_NAMED = 6


def no_study(path: Path) -> str:
    """Return the line that refuses a path without a study, with the study folder that may be meant."""
    why = "" if path.is_dir() else ": it is a file" if path.exists() else ": it is not there"
    return f"{path}: must be a study folder, has no study.json{why}; {_remedy(path)}"


def _remedy(path: Path) -> str:
    around = next((parent for parent in path.parents if (parent / _MANIFEST).is_file()), None)
    if around is not None:
        return f"it lies in the study folder {around}: name that"
    inside = sorted(found.parent for found in path.glob(f"*/{_MANIFEST}"))
    if inside:
        named = ", ".join(map(str, inside[:_MOST_NAMED]))
        more = f" and {len(inside) - _MOST_NAMED} more" if len(inside) > _MOST_NAMED else ""
        return f"it holds those of {named}{more}: name one"
    usual = _USUAL / path.name
    if (usual / _MANIFEST).is_file():
        return f"did you mean {usual}?"
    return "`loratory run STUDY_FILE` makes one, runs/NAME by default"
