"""A study's examples, as far as they are known cheaply: kept by a run, sampled from files, or not at all."""

import json
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratory.objectives.data.cache_file import read_cache
from loratory.objectives.data.cache_key import cache_key, hash_sources
from loratory.objectives.data.lengths import resolve_max_length
from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.data.rows import Part, RawRow
from loratory.objectives.data.shares import dev_examples, eval_fraction, select_and_confirm
from loratory.objectives.data.sources import check_files, named_files, open_sources
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.memory.engine_size import StackSize
from loratory.objectives.qlora.memory.facts import Workload, workload, workload_without_data
from loratory.objectives.qlora.memory.study_plan import PlannedData
from loratory.objectives.study_folder import PREPARED, StudyFolder
from loratory.spaces.data import QUICKSTART_DATA, DataSpec
from loratory.spaces.errors import InputError, LoratoryError
from loratory.spaces.study import StudySpec

_ASSUMED_EXAMPLES = 1000
_SAMPLED_ROWS = 300
_LARGEST_FILES = 64 * 2**20  # bytes, read in a second or two


@dataclass(frozen=True, kw_only=True)
class _Known:
    """Examples that were read.

    Attributes:
        data: the splits, or those of a sample.
        scale: examples of train per example of `data.train`, and of eval likewise.
        source: phrase for the terminal.
        sampled: whether they are a sample.
        test_examples: number of rows of test, where a sample has fewer.
    """

    data: PreparedData
    scale: tuple[float, float]
    source: str
    sampled: bool = False
    test_examples: int = 0


def known_workload(
    study: StudySpec,
    stack: StackSize,
    *,
    dtype: Any,
    reference: BaseReference,
    max_positions: int | None,
    runs: Path,
) -> tuple[Workload, PlannedData]:
    """Return the workload of a study as far as it is known without network and preparation.

    Args:
        study: a study with a data section.
        stack: sizes of its adapters.
        dtype: compute dtype.
        reference: the base, whose tokenizer is used where it is on this machine.
        max_positions: longest input of the base, in tokens; None: no limit.
        runs: where study folders lie.

    Raises:
        InputError: `data.max_length` is beyond the base's limit.
    """
    assert study.data is not None
    longest = resolve_max_length(study.data, max_positions)
    try:
        known = _kept(study, reference, max_positions, runs) or _sampled(study, reference, max_positions)
    except _UnknownError as reason:
        return _without_data(study, stack, dtype=dtype, longest=longest, reason=str(reason))
    return _with_data(study, stack, known, dtype=dtype)


def workload_of(
    study: StudySpec, stack: StackSize, *, dtype: Any, data: PreparedData, **_: Any
) -> tuple[Workload, PlannedData]:
    """Return the workload of a study with its prepared data."""
    return _with_data(study, stack, _Known(data=data, scale=(1, 1), source="as prepared"), dtype=dtype)


class _UnknownError(Exception):
    """The examples cannot be read cheaply; the text says why."""


def _with_data(
    study: StudySpec, stack: StackSize, known: _Known, *, dtype: Any
) -> tuple[Workload, PlannedData]:
    data, (train_scale, eval_scale) = known.data, known.scale
    train, dev, select = len(data.train) * train_scale, len(data.dev), len(data.select) * eval_scale
    confirm, test = len(data.confirm), known.test_examples or len(data.test)
    if known.sampled:  # a sample is divided otherwise than all of eval
        examples = (len(data.dev) + len(data.select)) * eval_scale
        dev = min(study.evaluation.dev_examples or dev_examples(round(examples)), round(examples))
        select, confirm = _select_and_confirm(study, round(examples) - dev)
    counted = workload(study, data, stack, dtype=dtype)
    counted = Workload(
        **vars(counted)
        | {
            "trained_tokens": counted.trained_tokens * train_scale,
            "prompts": max(dev, round(select), len(data.confirm), len(data.test)),
            "decoded_prompts": _decoded(study, dev, round(select)),
        }
    )
    planned = PlannedData(
        source=known.source,
        known=True,
        train=round(train),
        dev=dev,
        select=round(select),
        mean_tokens=counted.mean_tokens,
        longest_tokens=counted.longest_tokens,
        confirm=confirm,
        test=test,
    )
    return counted, planned


def _without_data(
    study: StudySpec, stack: StackSize, *, dtype: Any, longest: int, reason: str
) -> tuple[Workload, PlannedData]:
    assert study.data is not None
    given = study.data.train_examples
    train = given or _ASSUMED_EXAMPLES
    examples = round((study.data.eval_fraction or eval_fraction(train)) * train)
    dev = study.evaluation.dev_examples or dev_examples(examples)
    rest, confirm = _select_and_confirm(study, examples - dev)
    select = study.evaluation.select_examples or max(dev, rest)
    counted = workload_without_data(
        study,
        stack,
        dtype=dtype,
        max_length=longest,
        train_examples=train,
        dev_examples=dev,
        select_examples=select,
    )
    planned = PlannedData(
        source=reason,
        known=False,
        train=train,
        dev=dev,
        select=select,
        mean_tokens=longest,
        longest_tokens=longest,
        confirm=confirm,
        test=select if study.data.test else 0,
    )
    return counted, planned


def _select_and_confirm(study: StudySpec, rest: int) -> tuple[int, int]:
    """Return the sizes of select and confirm by the number of examples that dev leaves of eval."""
    evaluation = study.evaluation
    return select_and_confirm(rest, select=evaluation.select_examples, confirm=evaluation.confirm_examples)


def _decoded(study: StudySpec, dev: int, select: int) -> int:
    return study.evaluation.evaluations * dev + select if study.metrics else 0


def _kept(study: StudySpec, reference: BaseReference, max_positions: int | None, runs: Path) -> _Known | None:
    """Return the data that an earlier run of the study kept, if it is that of this study file."""
    folder = StudyFolder(runs / study.name)
    if study.data is None or not (folder.data / PREPARED).is_file():
        return None
    with suppress(LoratoryError, OSError, ValueError, KeyError, _UnknownError):
        manifest = folder.read_manifest()
        key = cache_key(
            study,
            _tokenizer(reference),
            sources=hash_sources(study.data) or {},
            max_positions=max_positions,
            created_at=manifest.created_at,
            base_sha256=manifest.hashes["base"],
        )
        kept = read_cache(folder.data / PREPARED, key) if key else None
        if kept is not None:
            return _Known(data=kept[0], scale=(1, 1), source=f"as {folder.path} keeps it")
    return None


def _sampled(study: StudySpec, reference: BaseReference, max_positions: int | None) -> _Known:
    """Prepare a sample of the rows of local files.

    Raises:
        _UnknownError: files, tokenizer or rows are not there, or do not make a study.
    """
    from loratory.objectives.data.preparation import prepare_data

    assert study.data is not None
    _check_local(study.data)
    tokenizer = _tokenizer(reference)
    try:
        with (
            open_sources(study.data, confirm=study.evaluation.confirm_examples != 0) as sources,
            tempfile.TemporaryDirectory(prefix="loratory-plan-") as folder,
        ):
            counts = {
                part: _write_sample(rows, Path(folder) / f"{part}.jsonl") for part, rows in sources.items()
            }
            paths = {part.value: str(Path(folder) / f"{part}.jsonl") for part in counts}
            data = study.data.model_copy(update={**paths, "train_examples": None})
            evaluation = study.evaluation.model_copy(
                update={"dev_examples": None, "select_examples": None, "confirm_examples": 0}
            )
            sample = study.model_copy(update={"data": data, "evaluation": evaluation})
            prepared = prepare_data(sample, tokenizer, max_positions=max_positions)
    except (InputError, OSError, ValueError) as error:
        raise _UnknownError(" ".join(str(error).split())) from error
    rows, read = counts[Part.TRAIN]
    source = f"{rows:,} rows of train" + (f", lengths by {read} of them" if read < rows else "")
    scale = _scale(study, prepared.data, counts)
    test = counts.get(Part.TEST, (0, 0))[0]
    return _Known(data=prepared.data, scale=scale, source=source, sampled=True, test_examples=test)


def _scale(
    study: StudySpec, sample: PreparedData, counts: dict[Part, tuple[int, int]]
) -> tuple[float, float]:
    """Return the examples of train and of eval per example of a sample."""
    assert study.data is not None
    train, scored = len(sample.train), len(sample.dev) + len(sample.select)
    rows, read = counts[Part.TRAIN]
    if Part.EVAL in counts:
        whole, whole_eval = train * rows / read, scored * counts[Part.EVAL][0] / counts[Part.EVAL][1]
    else:
        kept = (train + scored) * rows / read
        whole_eval = kept * (study.data.eval_fraction or eval_fraction(round(kept)))
        whole = kept - whole_eval
    return min(whole, study.data.train_examples or whole) / train, whole_eval / scored


def _check_local(data: DataSpec) -> None:
    try:
        check_files(data)
        files = named_files(data)
    except InputError as error:
        raise _UnknownError(str(error)) from error
    named = [name for name in (data.train, data.eval, data.test) if name]
    if QUICKSTART_DATA in named:
        raise _UnknownError(f"{QUICKSTART_DATA} is gathered from installed packages, which takes a while")
    if files is None or any(not paths for paths in files.values()):
        raise _UnknownError(f"{', '.join(named)}: no plan reads data sets of the Hub")
    size = sum(path.stat().st_size for paths in files.values() for path in paths)
    if size > _LARGEST_FILES:
        raise _UnknownError(
            f"{', '.join(named)}: {size / 2**20:.0f} MiB, of which a plan reads {_LARGEST_FILES >> 20}"
        )


def _tokenizer(reference: BaseReference) -> Any:
    """Return the base's tokenizer from this machine.

    Raises:
        _UnknownError: it is not here.
    """
    from transformers import AutoTokenizer

    try:
        return AutoTokenizer.from_pretrained(
            reference.source,
            revision=None if Path(reference.source).is_dir() else reference.revision,
            trust_remote_code=reference.trust_remote_code,
            local_files_only=True,
        )
    except (OSError, ValueError, KeyError) as error:
        raise _UnknownError(f"the tokenizer of {reference.location} is not on this machine") from error


def _write_sample(rows: Iterable[RawRow], path: Path) -> tuple[int, int]:
    """Write some hundred of the rows as JSON lines; return the number of all and of written ones."""
    everything = [row.fields for row in rows if not row.problem]
    step = max(1, -(-len(everything) // _SAMPLED_ROWS))
    chosen = everything[::step]
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in chosen), encoding="utf-8")
    return len(everything), max(1, len(chosen))
