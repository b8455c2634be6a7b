"""A plot of tokens a second over tokens a step, as SVG written by hand."""

import math
from collections.abc import Callable, Iterable
from html import escape

from packing_cells.cells import CEILING, OURS, PROCESSES, TRAINER, is_another_format
from packing_cells.comparison import Cells, best, pace, summarize
from packing_cells.results import Reading, by_device

_WIDTH, _HEIGHT, _LEFT, _TOP, _RIGHT, _BOTTOM = 470, 400, 64, 40, 16, 48
_COLORS = ("#888888", "#c0392b", "#e08e0b", "#8fb8de", "#2e75b6", "#1b4f8a", "#0b2545")
Line = tuple[str, list[tuple[int, float]]]
Place = Callable[[float], float]


def as_svg(readings: Iterable[Reading]) -> str:
    """One panel a device and model: both axes logarithmic, a line a variant, processes at their best."""
    drawn = [panel for device, taken in by_device(readings).items() for panel in _panels(device, taken)]
    panels = [
        f'<g transform="translate({number * _WIDTH},0)">{panel}</g>' for number, panel in enumerate(drawn)
    ]
    width = max(1, len(panels)) * _WIDTH
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {_HEIGHT}" width="{width}" '
        f'height="{_HEIGHT}" font-family="sans-serif" font-size="11"><rect width="100%" height="100%" '
        f'fill="white"/>{"".join(panels)}</svg>\n'
    )


def _panels(device: str, readings: list[Reading]) -> list[str]:
    cells = summarize(readings)
    shapes = dict.fromkeys(cell.shape for cell in cells if cell.load.isdigit())
    lines = {shape: _lines(cells, shape) for shape in shapes}
    return [_panel(f"{shape}, {device}", drawn) for shape, drawn in lines.items() if drawn]


def _lines(cells: Cells, shape: str) -> list[Line]:
    here = sorted(
        (int(cell.load), of) for cell, of in cells.items() if cell.shape == shape and cell.load.isdigit()
    )
    ours = {name for _, of in here for name in of if name.startswith(OURS) and not is_another_format(name)}
    by_slots = sorted(ours, key=lambda name: int(name.removeprefix(OURS)))
    lines: list[Line] = []
    for name in (CEILING, TRAINER, PROCESSES, *by_slots):
        points = []
        for tokens, of in here:
            fastest = best(of, PROCESSES)
            value = (fastest.tokens_per_second if fastest else None) if name == PROCESSES else pace(of, name)
            if value:
                points.append((tokens, value))
        if points:
            lines.append(("processes, best number" if name == PROCESSES else name, points))
    return lines


def _panel(title: str, lines: list[Line]) -> str:
    every = [point for _, points in lines for point in points]
    across = _scale([x for x, _ in every], _LEFT, _WIDTH - _RIGHT)
    up = _scale([y for _, y in every], _HEIGHT - _BOTTOM, _TOP)
    parts = [f'<text x="{_LEFT}" y="20" font-size="14">{escape(title)}: useful tokens/s</text>']
    parts += [_tick_x(x, across) for x in sorted({x for x, _ in every})]
    parts += [_tick_y(10.0**power, up) for power in _powers([y for _, y in every])]
    parts.append(f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}">tokens a trial and step</text>')
    for number, (name, points) in enumerate(lines):
        color = _COLORS[number % len(_COLORS)]
        path = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in points)
        dash = ' stroke-dasharray="5 4"' if name == CEILING else ""
        parts.append(f'<polyline points="{path}" fill="none" stroke="{color}" stroke-width="2"{dash}/>')
        parts += [f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" r="3" fill="{color}"/>' for x, y in points]
        row = _HEIGHT - _BOTTOM - 8 - 14 * (len(lines) - 1 - number)
        parts.append(f'<text x="{_WIDTH - _RIGHT - 130}" y="{row}" fill="{color}">{escape(name)}</text>')
    return "".join(parts)


def _scale(values: list[float], low: float, high: float) -> Place:
    """Logarithmic, with a margin of a quarter of an octave on both sides."""
    start, end = math.log2(min(values)) - 0.25, math.log2(max(values)) + 0.25
    return lambda value: low + (math.log2(value) - start) / (end - start) * (high - low)


def _powers(values: list[float]) -> range:
    return range(math.ceil(math.log10(min(values))), math.floor(math.log10(max(values))) + 1)


def _tick_x(value: float, place: Place) -> str:
    return (
        f'<text x="{place(value):.1f}" y="{_HEIGHT - _BOTTOM + 16}" text-anchor="middle">{value:,.0f}</text>'
    )


def _tick_y(value: float, place: Place) -> str:
    y = f"{place(value):.1f}"
    return (
        f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y}" y2="{y}" stroke="#dddddd"/>'
        f'<text x="{_LEFT - 6}" y="{y}" text-anchor="end">{value:,.0f}</text>'
    )
