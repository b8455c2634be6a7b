"""Predicted against measured memory: a table, and a plot."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.express as px
from packing_cells.plot import as_svg

from memory_cells.cells import HALVES
from memory_cells.prediction import Compared, compared

_GIB = 2**30
_HEAD = (
    "| cell | half | predicted GiB | measured GiB | error | GiB off | ok | terms, GiB |",
    "|---|---|---|---|---|---|---|---|",
)


def as_markdown(lines: Sequence[dict[str, Any]], *, seed: int, half: str | None = None) -> str:
    """Return the table of a results file, the worst of each half, and the cells that did not fit.

    Args:
        lines: of the results file.
        seed: chooses the half that is held out.
        half: one of `HALVES`, or None for both.
    """
    found = [item for item in compared(lines, seed=seed) if half in (None, _half(item))]
    missed = sorted(line["name"] for line in lines if line["error"] is not None)
    devices = sorted({line["machine"]["device"] for line in lines})
    return "\n".join(
        [
            f"Measured on {', '.join(devices)}; half held out by seed {seed}.",
            "",
            *_HEAD,
            *map(_row, found),
            "",
            *(
                _worst(name, [i for i in found if _half(i) == name])
                for name in HALVES
                if half in (None, name)
            ),
            *([f"did not fit: {', '.join(missed)}"] if missed else []),
        ]
    )


def write_plot(lines: Iterable[dict[str, Any]], path: Path, *, seed: int) -> None:
    """Draw predicted over measured memory, an SVG or HTML."""
    rows = pd.DataFrame(
        {
            "measured, GiB": item.measured / _GIB,
            "predicted, GiB": item.terms.total / _GIB,
            "shape": item.cell.shape,
            "half": _half(item),
            "cell": item.cell.name,
        }
        for item in compared(lines, seed=seed)
    )
    most = float(rows[["measured, GiB", "predicted, GiB"]].max().max()) * 1.05
    drawn = px.scatter(
        rows,
        "measured, GiB",
        "predicted, GiB",
        color="shape",
        symbol="half",
        hover_name="cell",
        width=640,
        height=560,
        template="plotly_white",
    )
    for factor, dash in ((1.0, "solid"), (1.1, "dot"), (0.97, "dot")):
        end = min(most, most / factor)
        drawn.add_shape(type="line", x0=0, y0=0, x1=end, y1=factor * end, line={"dash": dash, "width": 1})
    drawn.update_layout(font_family="sans-serif", margin={"t": 30, "r": 20})
    path.write_text(as_svg(drawn) if path.suffix == ".svg" else drawn.to_html(), encoding="utf-8")


def _half(item: Compared) -> str:
    return HALVES[item.held_out]


def _row(item: Compared) -> str:
    terms = ", ".join(f"{name} {size / _GIB:.2f}" for name, size in item.terms if size)
    predicted, measured = item.terms.total / _GIB, item.measured / _GIB
    return (
        f"| {item.cell.name} | {_half(item)} | {predicted:.2f} | {measured:.2f} | {item.error:+.1%} "
        f"| {item.gib_off:+.2f} | {'yes' if item.good else '**no**'} | {terms} |"
    )


def _worst(half: str, items: Sequence[Compared]) -> str:
    if not items:
        return f"{half}: no cells"
    over, under = max(items, key=lambda item: item.error), min(items, key=lambda item: item.error)
    good = sum(item.good for item in items)
    return (
        f"{half}: {good} of {len(items)} within 10% or 0.5 GiB and at most 3% under; most over "
        f"{over.error:+.1%} ({over.gib_off:+.2f} GiB, {over.cell.name}), most under {under.error:+.1%} "
        f"({under.gib_off:+.2f} GiB, {under.cell.name})"
    )
