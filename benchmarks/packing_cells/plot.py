"""A plotly figure of tokens per second over tokens per step, as HTML or SVG."""

import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import unquote

import pandas as pd
import plotly.express as px
import plotly.graph_objects as go
from plotly.offline import get_plotlyjs

from packing_cells.cells import CEILING, PROCESSES
from packing_cells.comparison import summarize
from packing_cells.results import Reading, by_device

_LABELS = {"tokens": "tokens per trial and step", "tokens_per_second": "useful tokens/s", "line": ""}
_COLORS = ("#888888", "#c0392b", "#e08e0b", "#8fb8de", "#2e75b6", "#1b4f8a", "#0b2545")
_STYLE = {"markers": True, "log_x": True, "log_y": True, "labels": _LABELS, "height": 440}
_STYLE |= {"color_discrete_sequence": _COLORS, "facet_col_spacing": 0.05, "template": "plotly_white"}
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=20000", "--dump-dom")


def figure(readings: Iterable[Reading]) -> go.Figure:
    """Return a panel per device and model, with a line per variant and one for the best of processes."""
    devices = by_device(readings).items()
    rows = pd.concat([summarize(taken).assign(device=device) for device, taken in devices])
    rows = rows[rows["fits"] & ~rows["other_format"]].dropna(subset="tokens")
    line = rows["variant"].mask(rows["kind"] == PROCESSES, "processes, best number")
    rows = rows.assign(panel=rows["shape"] + ", " + rows["device"], line=line)
    points = rows.groupby(["panel", "line", "tokens"], sort=False)["tokens_per_second"].max().reset_index()
    width = 120 + 400 * max(1, points["panel"].nunique())
    drawn = px.line(
        points, "tokens", "tokens_per_second", color="line", facet_col="panel", width=width, **_STYLE
    )
    drawn.for_each_annotation(lambda title: title.update(text=title.text.removeprefix("panel=")))
    drawn.update_traces(line_dash="dash", selector={"name": CEILING})
    drawn.update_xaxes(tickvals=sorted(set(points["tokens"])), tickformat=",")
    drawn.update_yaxes(matches=None, showticklabels=True, dtick="D2", tickformat=",")
    drawn.update_layout(legend={"orientation": "h", "y": -0.2}, font_family="sans-serif")
    return drawn.update_layout(margin={"t": 30, "r": 20})


def write_plot(readings: Iterable[Reading], path: Path) -> None:
    """Write the figure: an SVG where the path ends so, else HTML that needs no network.

    Raises:
        ValueError: an SVG is wanted, and there is no browser.
    """
    drawn = figure(readings)
    path.write_text(as_svg(drawn) if path.suffix == ".svg" else drawn.to_html(), encoding="utf-8")


def as_svg(drawn: go.Figure) -> str:
    """Run plotly.js in a headless browser, since plotly for Python cannot draw."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise ValueError(f"an SVG needs one of {', '.join(BROWSERS)} on PATH; --plot FILE.html needs none")
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        draw = f"Plotly.toImage({drawn.to_json()}, {{format: 'svg'}}).then(it => document.body.append(it))"
        page.write_text(f"<script>{get_plotlyjs()}</script><body><script>{draw}</script>", encoding="utf-8")
        command = [browser, *_FLAGS, f"--user-data-dir={folder}/profile", page.as_uri()]
        dumped = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    found = re.search(r"data:image/svg\+xml,([^<]+)</body>", dumped)
    if found is None:
        raise RuntimeError(f"{browser} must print an SVG, got {dumped[-200:]!r}")
    return _without_random_names(unquote(found.group(1))) + "\n"


def _without_random_names(svg: str) -> str:
    """Let equal figures give equal files."""
    suffix = re.search(r'id="defs-(\w+)"', svg)
    named = svg.replace(suffix.group(1), "plot") if suffix else svg
    return re.sub(r"\btrace[0-9a-f]{6}\b", "", named)
