"""Results as Markdown: what was measured in each cell, and which bars are met."""

from collections.abc import Mapping, Sequence
from typing import Any

from statistics_cells.bars import Outcome, measured, outcomes
from statistics_cells.batches import Summary, summarize
from statistics_cells.cells import (
    CELLS,
    CONFIRM_CELLS,
    REPLAY_CELLS,
    RIGHT_CELLS,
    RULE_CELLS,
    SEARCH_CELLS,
    Cell,
)
from statistics_cells.discordant import DISCORDANT, EXAMPLES, RULES, exact_shares
from statistics_cells.further_search import BINS, COUNTED

_COLUMNS = {
    "fixed": "fixed trial",
    "paired": "difference",
    "picked": "picked trial",
    "best in set": "true best in set",
    "size of set": "size of set",
    "shortfall": "shortfalls",
    "optimism": "optimism / true",
    "named within 5%": "named at 5%",
    "wrong within 5%": "wrong at 5%",
}
_CONFIRM_COLUMNS = {
    "quality by select": "quality by select",
    "quality confirmed": "quality confirmed",
    "confirmed": "interval",
    "confirmed, alone": "interval, choice by confirm alone",
}
_RIGHT_COLUMNS = {
    "held": "difference",
    "held by jackknife": "by jackknife",
    "wrongly told": "wrongly told apart",
    "wrongly told by jackknife": "told by jackknife",
    "picked": "picked trial",
    "best in set": "true best in set",
    "size of set": "size of set",
    "shortfall": "shortfalls",
    "named within 5%": "named at 5%",
    "wrong within 5%": "wrong at 5%",
}
_SEARCH_HEADS = (
    *("searches", "number", "predicted", "looks"),
    *("mean prediction", "changed, by select", "changed, by select and confirm"),
)
_REPLAY_COLUMNS = {
    "by select": "best on select",
    "by seeds": "confirmed settings' best seed",
    "by larger select": "best on both parts, all scored there",
    "by confirm": "by select and confirm",
    "by confirm, retrained too": "the same, retrained too",
    "truly best": "truly best",
    "optimism by select": "optimism, select",
    "optimism by seeds": "optimism, seeds",
    "optimism by larger select": "optimism, both parts",
    "optimism by confirm": "optimism, select and confirm",
}


def as_markdown(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return tables of all cells that were run, and below them every bar that is missed.

    `*` marks a missed bar, `**` one that is missed by more than two standard errors. `-` is a share of a true
    optimism below 0.
    """
    text, judged = [], []
    tables = (
        (CELLS, _COLUMNS),
        (RIGHT_CELLS, _RIGHT_COLUMNS),
        (CONFIRM_CELLS, _CONFIRM_COLUMNS),
        (REPLAY_CELLS, _REPLAY_COLUMNS),
    )
    for cells, columns in tables:
        found = {cell: summary for cell in cells if (summary := summarize(lines, cell)) is not None}
        judged += [outcome for cell, summary in found.items() for outcome in outcomes(cell, summary)]
        head = ["studies of", "number", *columns.values()]
        rows = [_row(cell, summary, columns) for cell, summary in found.items()]
        text += _table(head, rows)
    text += [*_rules(lines), *_exact(), *_searches(lines)]
    missed = [outcome for outcome in judged if not outcome.met]
    met = f"{len(judged) - len(missed)} of {len(judged)} bars are met."
    return "\n".join([*text, met, *map(_explained, missed)])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table and an empty one; nothing without rows."""
    lines = ["| " + " | ".join(row) + " |" for row in (head, ["---"] * len(head), *rows)]
    return [*lines, ""] if rows else []


def _rules(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of both ways to compute the optimism, a row for each kind of study."""
    rows = []
    for rule in RULE_CELLS:
        if (summary := summarize(lines, rule)) is None:
            continue
        means = summary.means
        shares = (f"{means[name] / means['true optimism']:.2f}" for name in ("theirs", "ours"))
        held = (f"{means[f'held by {name}']:.3f}" for name in ("theirs", "ours"))
        rows.append([rule.cell.name, str(summary.studies), *shares, *held])
    heads = ("studies of", "number", "theirs / true", "ours / true", "interval by theirs", "by ours")
    return _table(heads, rows)


def _exact() -> list[str]:
    """Return the table of intervals of two models' difference, computed without simulation."""
    rows = []
    for examples in EXAMPLES:
        for discordant in DISCORDANT:
            equal, apart = (exact_shares(examples, discordant, gain) for gain in (0.0, 0.9 * discordant))
            told = [f"{equal[rule][1]:.3f}" for rule in RULES]
            held = [f"{apart[rule][0]:.3f}" for rule in RULES]
            rows.append([str(examples), f"{discordant:.0%}", *told, *held])
    heads = [f"{what}: {rule}" for what in ("told apart, equal", "holds the difference") for rule in RULES]
    return _table(["examples", "one alone right", *heads], rows)


def _searches(lines: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the table of predicted chances of a changed file beside the observed shares, a row per bin."""
    rows = []
    for cell in SEARCH_CELLS:
        if (summary := summarize(lines, cell)) is None:
            continue
        for place in range(BINS):
            sums = [summary.means[f"{name} {place}"] * summary.studies for name in COUNTED]
            shares = [f"{each / sums[-1]:.2f}" for each in sums[:-1]] if sums[-1] else []
            if shares:
                bounds = f"{place / BINS:.1f} to {(place + 1) / BINS:.1f}"
                rows.append([cell.name, str(summary.studies), bounds, f"{sums[-1]:.0f}", *shares])
    return _table(_SEARCH_HEADS, rows)


def _row(cell: Cell, summary: Summary, columns: Mapping[str, str]) -> list[str]:
    own = {outcome.bar.figure: outcome for outcome in outcomes(cell, summary)}
    shown = (_shown(cell, summary, name, own.get(name)) for name in columns)
    return [cell.name, str(summary.studies), *shown]


def _shown(cell: Cell, summary: Summary, figure: str, outcome: Outcome | None) -> str:
    value, _ = measured(cell, summary, figure)
    if value < 0:
        return "-"
    digits = {"size of set": 1, "optimism": 2}.get(figure, 3)
    mark = "" if outcome is None or outcome.met else "\\*\\*" if outcome.surely_missed else "\\*"
    return f"{value:.{digits}f}{mark}"


def _explained(outcome: Outcome) -> str:
    found = f"{outcome.bar.figure} must be {outcome.bar}, is {outcome.value:.3f} +- {outcome.error:.3f}"
    sure = "" if outcome.surely_missed else ", within two standard errors"
    return f"- {outcome.cell.name}: {found}{sure}"
