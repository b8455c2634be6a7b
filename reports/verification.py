"""Compare scores measured again with those of a model card."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from loratory.spaces.errors import InputError


def read_card_metrics(card: Path, *, split: str = "select") -> dict[str, float]:
    """Read the metrics that a card's metadata states for a split.

    Args:
        card: README.md, staged or downloaded.
        split: `select` or `test`.

    Raises:
        InputError: there is no card, it has no metadata, or its metadata lack the split.
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
    """Return one line per metric that differs; empty if all agree.

    Args:
        card_metrics: metrics that the card states.
        measured: metrics measured again.
        tolerance: largest accepted difference, relative to the value or, below 1, absolute.
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
    """Return the accepted difference between scores of the packed and the plain computation.

    A trial is scored in a pack, a published adapter by plain PEFT. Sums are rounded in another order, and
    greedy decoding may choose the other of two almost equally likely tokens: sometimes in bf16 and fp16,
    rarely in fp32.

    Args:
        compute_dtype: the compute dtype of the record.
    """
    return 1e-2 if compute_dtype in ("bfloat16", "float16") else 1e-4


def environment_differences(
    *,
    recorded_versions: Mapping[str, str],
    present_versions: Mapping[str, str],
    recorded_device: str,
    present_device: str,
) -> str:
    """Explain as the end of a message why scores of the same adapter may differ.

    Another device or library sums in another order, and greedy decoding may then choose the other of two
    almost equally likely tokens.

    Args:
        recorded_versions: packages that the trial ran with, `Provenance.versions`.
        present_versions: packages here.
        recorded_device: device that the trial ran on, `Resources.device`; empty where it is not known.
        present_device: device here.

    Returns:
        "" if nothing that is recorded differs.
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
    # `math.isclose` accepts two equal infinities; a score must be finite.
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
