"""Check that scores measured again are those that a model card states."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from loratory.spaces.errors import InputError


def read_card_metrics(card: Path, *, split: str = "select") -> dict[str, float]:
    """The metrics that a card's metadata states for a split.

    Args:
        card: README.md, staged or downloaded.
        split: `select` or `test`.

    Raises:
        InputError: no card, no metadata, or no such split in it.
    """
    if not card.is_file():
        raise InputError(f"{card}: must be a model card, there is none; `loratory publish` writes it")
    for index in _metadata(card).get("model-index") or []:
        for result in index.get("results") or []:
            if (result.get("dataset") or {}).get("split") == split:
                return {metric["type"]: float(metric["value"]) for metric in result["metrics"]}
    raise InputError(f"{card}: must state metrics on split {split} in its model-index, states none")


def compare_scores(
    card_metrics: dict[str, float],
    measured: dict[str, float],
    *,
    tolerance: float = 1e-6,
) -> list[str]:
    """What differs, a line a metric; empty where all agree.

    Args:
        card_metrics: what the card states.
        measured: what scoring again gave.
        tolerance: largest difference that passes, relative to the value or, below 1, absolute.
    """
    lines = []
    for name, stated in card_metrics.items():
        found = measured.get(name)
        if found is None:
            lines.append(f"{name}: the card states {stated:.8g}, it was not measured")
        elif not _agree(stated, found, tolerance):
            lines.append(f"{name}: the card states {stated:.8g}, measured {found:.8g}")
    return lines


def tolerance_of(compute_dtype: str | None) -> float:
    """How far scores may lie apart that were computed by another route in some number format.

    A trial is scored in a pack, a published adapter by plain PEFT: sums are rounded in another order, and
    where two tokens are almost equally likely, greedy decoding may choose the other one. In bf16 and fp16
    that happens now and then, in fp32 hardly ever.

    Args:
        compute_dtype: as the record has it.
    """
    return 1e-2 if compute_dtype in ("bfloat16", "float16") else 1e-4


def environment_differences(
    *,
    recorded_versions: Mapping[str, str],
    present_versions: Mapping[str, str],
    recorded_device: str,
    present_device: str,
) -> str:
    """Why scores may differ although the adapter is the same, as the end of a message.

    Another device or library adds up in another order; where two tokens are almost equally likely, greedy
    decoding may then choose the other one.

    Args:
        recorded_versions: packages that the trial ran with, `Provenance.versions`.
        present_versions: packages here.
        recorded_device: device that the trial ran on, `Resources.device`; empty where it is not known.
        present_device: device here.

    Returns:
        "" where nothing that is recorded differs.
    """
    lines = [
        f"{name} {version} then, {present_versions.get(name, 'none')} now"
        for name, version in recorded_versions.items()
        if present_versions.get(name) != version
    ]
    if recorded_device and recorded_device != present_device:
        lines.insert(0, f"device {recorded_device} then, {present_device} now")
    if not lines:
        return ""
    return (
        f"this may come of another environment ({'; '.join(lines)}), in which greedy decoding can choose "
        "other tokens: verify in the same one"
    )


def _agree(stated: float, found: float, tolerance: float) -> bool:
    # isclose takes two equal infinities for near; a score is finite or wrong.
    finite = math.isfinite(stated) and math.isfinite(found)
    return finite and abs(stated - found) <= tolerance * max(1.0, abs(stated))


def _metadata(card: Path) -> dict[str, Any]:
    text = card.read_text(encoding="utf-8")
    _, opening, rest = text.partition("---\n")
    header, closing, _ = rest.partition("\n---")
    try:
        metadata = yaml.safe_load(header) if opening and closing else None
    except yaml.YAMLError as error:
        raise InputError(f"{card}: metadata must be YAML: {' '.join(str(error).split())}") from error
    if not isinstance(metadata, dict):
        raise InputError(f"{card}: must open with metadata between two lines of ---, has none")
    return metadata
