"""Load a study file (YAML or Python) with `--set` overrides; errors name the line."""

import runpy
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path

from pydantic import ValidationError

from loratory.spaces.command_line import command
from loratory.spaces.diagnosis import Diagnosis
from loratory.spaces.errors import InputError
from loratory.spaces.overrides import apply_override
from loratory.spaces.rules import shown
from loratory.spaces.study import StudySpec
from loratory.spaces.yaml_source import Source, read_yaml


def load_study(path: str | Path, overrides: Sequence[str] = ()) -> StudySpec:
    """Read and validate a study file.

    Args:
        path: a `.yaml` or `.yml` file, or a `.py` file that defines `study` (a `StudySpec` or a dict).
        overrides: texts `a.b=c` that replace keys of the file; `c` is read as YAML.

    Raises:
        InputError: one line per error: file, line, key, rule, value.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: must be a study file, is a folder")
    if not path.is_file():
        starter = command("init", path.with_suffix(".yaml"))
        raise InputError(f"{path}: no such study file; `{starter}` writes a starter")
    source = _read_python(path) if path.suffix == ".py" else read_yaml(_text(path), str(path))
    if not isinstance(source.data, dict):
        raise InputError(f"{source.where(())}: must be a mapping of keys, got {shown(source.data)}")
    return validate_study(source, {apply_override(source, text): text for text in overrides})


def validate_study(source: Source, overrides: Mapping[str, str] | None = None) -> StudySpec:
    """Validate a parsed file and return its spec.

    Args:
        source: data and line numbers.
        overrides: dotted key to the `--set` text that wrote it.

    Raises:
        InputError: the file breaks a rule.
    """
    try:
        return StudySpec.model_validate(source.data)
    except ValidationError as error:
        raise InputError("\n".join(Diagnosis(source, overrides or {}).lines(error.errors()))) from error


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path}:{line}: must be UTF-8, got byte 0x{data[error.start]:02x}: save the file as UTF-8"
        ) from error
    except OSError as error:
        raise InputError(f"{path}: must be readable: {error.strerror}") from error


def _read_python(path: Path) -> Source:
    try:
        study = runpy.run_path(str(path)).get("study")
    except ValidationError as error:
        source = Source(None, _place(error, path))
        raise InputError("\n".join(Diagnosis(source).lines(error.errors()))) from error
    except (Exception, SystemExit) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            f"{_place(error, path)}: must run as Python: {type(error).__name__}: {reason}"
        ) from error
    if study is None:
        raise InputError(f"{path}: must define `study`, a StudySpec or a dict of its keys")
    return Source(study.model_dump(mode="json") if isinstance(study, StudySpec) else study, str(path))


def _place(error: BaseException, path: Path) -> str:
    """Return `file:line` of the line in `path` that raised."""
    if isinstance(error, SyntaxError):
        return f"{path}:{error.lineno}"
    frames = traceback.extract_tb(error.__traceback__)
    return next((f"{path}:{f.lineno}" for f in reversed(frames) if f.filename == str(path)), str(path))
