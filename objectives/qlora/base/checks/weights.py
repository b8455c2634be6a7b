"""Check that every weight of a base came from its files, without loading them."""

import re
from collections.abc import Iterable, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratory.objectives.qlora.base.architecture import read_configuration
from loratory.objectives.qlora.base.checks.unused_weights import harmless_reason
from loratory.objectives.qlora.base.checks.weight_files import (
    files_not_read,
    files_read,
    git_pointers,
    quantized_matrices,
    weights_folder,
)
from loratory.objectives.qlora.base.loading import quieten
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.base.skeleton import in_one_line, model_loader
from loratory.objectives.records import Check
from loratory.spaces.errors import InputError

NAME = "weights"
NOT_CHECKED = Check(name=NAME, detail="every weight must come from the files, which a worker downloads")

_MOST_NAMES = 3
_CONFIGURATION = "take the config.json that was saved with them"
# What puts a prefix before every name, and what to do about it.
_PREFIXES = {
    "_orig_mod.": ("saved under torch.compile", "save its `_orig_mod` again"),
    "module.": ("saved inside a data-parallel wrapper", "save its `module` again"),
    "base_model.model.": ("saved with PEFT's wrapper", "save what `merge_and_unload` returns"),
}


@dataclass(frozen=True, kw_only=True)
class WeightReport:
    """The weights of a model beside those of its files.

    Attributes:
        expected: number of the model's weights.
        missing: names that no file has, in the order of the layers; tied weights are not among them.
        unexpected: names in the files that the model has no place for.
        mismatched: name, shape in the file, and shape in the model.
        quantized: name and number format of matrices in the files that are integers or floats of 8 bits.
        not_read: names of files with weights that transformers passes over.
    """

    expected: int
    missing: tuple[str, ...]
    unexpected: tuple[str, ...]
    mismatched: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...]
    quantized: tuple[tuple[str, str], ...] = ()
    not_read: tuple[str, ...] = ()


def check_weights(reference: BaseReference) -> Check:
    """Check that every weight comes from the files of a base, and that none of theirs is left over.

    For a Hub id this downloads them.

    Raises:
        InputError: weights are missing, have other names or shapes, or cannot be read.
    """
    configuration = read_configuration(reference)
    return judge_weights(read_report(reference, configuration), configuration, reference.location)


def read_report(reference: BaseReference, configuration: Any) -> WeightReport:
    """Compare the names and shapes in a base's files with those of its model, on the meta device.

    Raises:
        InputError: the files cannot be read.
    """
    quieten()
    if reference.has_weights and (pointers := git_pointers(Path(reference.source))):
        raise InputError(
            f"model.base: {reference.location} must hold weights, {_first(pointers)} only points to them; "
            "run `git lfs pull` there"
        )
    try:
        model, found = model_loader(configuration).from_pretrained(
            reference.source,
            revision=reference.revision,
            config=configuration,
            trust_remote_code=reference.trust_remote_code,
            device_map="meta",
            output_loading_info=True,
            ignore_mismatched_sizes=True,
        )
    except Exception as error:  # each format of files has errors of its own
        raise InputError(
            f"model.base: {reference.location} must have readable weights: {in_one_line(error)}; "
            "copy or download its files again"
        ) from error
    folder = weights_folder(reference)
    files = files_read(folder)
    mismatched = [(name, tuple(file), tuple(model)) for name, file, model in found["mismatched_keys"]]
    return WeightReport(
        expected=len(model.state_dict()),
        missing=_in_order(found["missing_keys"]),
        unexpected=_in_order(found["unexpected_keys"]),
        mismatched=tuple(sorted(mismatched, key=lambda one: _natural(one[0]))),
        quantized=tuple(sorted(quantized_matrices(files), key=lambda one: _natural(one[0]))),
        not_read=files_not_read(folder, files),
    )


def judge_weights(report: WeightReport, configuration: Any, location: str) -> Check:
    """Return the passed check with what was left aside.

    Args:
        report: the weights.
        configuration: the base's transformers configuration.
        location: the base, for messages.

    Raises:
        InputError: weights are missing, left over or of another shape.
    """
    reasons = {name: harmless_reason(name, configuration) for name in report.unexpected}
    strange = tuple(name for name, reason in reasons.items() if reason is None)
    rule = f"model.base: weights of {location} must be those of its files; "
    for name, number_format in report.quantized:
        if harmless_reason(name, configuration) is None:
            raise InputError(
                f"model.base: {location} must be unquantised, its weights are quantised ({name} in the files "
                f"is {number_format}); take the release that it was made from"
            )
    if (prefix := _prefix(report)) is not None:
        raise InputError(rule + _prefixed(report, prefix))
    if report.mismatched:
        name, file, model = report.mismatched[0]
        raise InputError(
            f"{rule}{_count(report.mismatched, 'has another shape', 'have other shapes')} than config.json "
            f"says ({name}: {list(file)} in the file, {list(model)} by config.json); {_CONFIGURATION}"
        )
    if report.missing:
        raise InputError(
            f"{rule}{_count(report.missing, 'is', 'are')} missing ({_first(report.missing)}) and would be "
            f"drawn at random; {_remedy(report, strange)}"
        )
    if strange:
        raise InputError(
            f"{rule}{_count(strange, 'has', 'have')} no place in the model of config.json "
            f"({_first(strange)}); {_CONFIGURATION}, or remove them from the files"
        )
    return Check(name=NAME, passed=True, detail=_detail(report, {r for r in reasons.values() if r}))


def _detail(report: WeightReport, harmless: set[str]) -> str:
    left = f"; not used: {', '.join(sorted(harmless))}" if harmless else ""
    passed_over = f"; not read: {_first(report.not_read)}" if report.not_read else ""
    return f"all {report.expected} from the files{left}{passed_over}"


def _remedy(report: WeightReport, strange: tuple[str, ...]) -> str:
    if strange:
        return f"the files have {_first(strange)} instead; {_CONFIGURATION}"
    if all(re.search(r"(^|\.)(lm_head|embed_out|output)\.", name) for name in report.missing):
        return "save the model again with its output head, as AutoModelForCausalLM loads it"
    return f"{_CONFIGURATION}, or copy or download all files again"


def _prefix(report: WeightReport) -> str | None:
    """Return the beginning of the names in the files that missing names lack."""
    missing = set(report.missing)
    for name in report.unexpected:
        if (prefix := next((p for p in _PREFIXES if name.startswith(p)), None)) is not None:
            return prefix
        for place in (match.end() for match in re.finditer(r"\.", name)):
            if name[place:] in missing:
                return name[:place]
    return None


def _prefixed(report: WeightReport, prefix: str) -> str:
    how, remedy = _PREFIXES.get(prefix, ("which its model does not have", "save the model again without it"))
    few = _first(name for name in report.unexpected if name.startswith(prefix))
    return (
        f"{_count(report.missing, 'is', 'are')} missing ({_first(report.missing)}), as names in the files "
        f"begin with {prefix!r} ({few}), {how}; {remedy}, or remove the prefix from the names"
    )


def _count(weights: Sized, one: str, many: str) -> str:
    return f"1 {one}" if len(weights) == 1 else f"{len(weights)} {many}"


def _first(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:_MOST_NAMES]) + (", ..." if len(listed) > _MOST_NAMES else "")


def _in_order(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names, key=_natural))


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a key by which `layers.2` is before `layers.10`."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in name.split(".")]
