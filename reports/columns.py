"""Columns of the tables of trials, declared once for the terminal, Markdown, HTML and CSV."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from loratory.reports import formatting
from loratory.reports.comparison_report import ComparisonReport, RankedTrial, TrialFacts
from loratory.reports.comparison_rows import metric_names
from loratory.reports.findings import Interval
from loratory.reports.visible import one_line

PARAMETER: Final = "param."
"""Prefix of the columns of searched parameters."""
METRIC: Final = "metric."
"""Prefix of the columns of metrics on eval.select."""


class View(Enum):
    """A table of trials: the names of its columns in order; a prefix stands for all columns that have it."""

    TERMINAL = ("rank", "number", "value", "gain_over_base", PARAMETER)
    MARKDOWN_RANKED = ("rank", "number", "value", "interval", "gain_over_base", "gain_interval", PARAMETER)
    MARKDOWN_UNRANKED = ("number", "state", "reason", "evaluations", "best_dev_value")
    HTML_RANKED = (
        *("rank", "number", "value", "gain_over_base", PARAMETER, METRIC),
        *("device_seconds", "peak_memory_bytes", "ended"),
    )
    HTML_UNRANKED = (
        *("number", "state", "reason", "evaluations", "best_dev_value", PARAMETER, "device_seconds"),
    )
    CSV = (
        *("rank", "number", "state", "value", "value_low", "value_high"),
        *("gain_over_base", "gain_low", "gain_high", PARAMETER, METRIC),
        *("reason", "seed", "attempt", "evaluations", "best_dev_value"),
        *("elapsed_seconds", "device", "device_seconds", "peak_memory_bytes", "pack_size"),
        *("best_step", "adapter", "adapter_sha256"),
    )


def _no_interval(_: TrialFacts) -> Interval | None:
    return None


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column.

    Attributes:
        name: its key, and its heading in CSV.
        label: its heading for people.
        value: the cell of a trial as CSV holds it and HTML sorts by it; None where it is not known.
        text: the cell of a trial for people.
        numeric: whether cells are aligned to the right.
        wraps: whether a long cell may break.
        interval: the interval of a trial's cell, which HTML shows below it; None where it has none.
    """

    name: str
    label: str
    value: Callable[[TrialFacts], Any]
    text: Callable[[TrialFacts], str]
    numeric: bool = True
    wraps: bool = False
    interval: Callable[[TrialFacts], Interval | None] = _no_interval

    def ends(self, trial: TrialFacts) -> str:
        """Return the interval of a trial's cell for people; empty where it has none."""
        found = self.interval(trial)
        return formatting.between(found) if found else ""


def columns(report: ComparisonReport, view: View) -> list[Column]:
    """Return the columns of a view in order."""
    declared = (*_fixed(report), *_parameters(report), *_metrics(report, ends=view is View.CSV))
    return [
        column
        for name in view.value
        for column in declared
        if column.name == name or (name in (PARAMETER, METRIC) and column.name.startswith(name))
    ]


def _fixed(report: ComparisonReport) -> list[Column]:
    """Declare the columns that every study has."""
    return [
        Column(name="rank", label="place", value=_rank, text=_place),
        _field("number", "trial"),
        _field("state", "state", formatting.state, numeric=False),
        _field("value", formatting.label(report.study.metric), formatting.score, interval=_interval_of),
        Column(name="interval", label="interval", value=_low, text=_interval),
        _score("value_low", "low end", _low),
        _score("value_high", "high end", _high),
        _field("gain_over_base", "over base", formatting.signed, field="gain", interval=_gain_interval_of),
        Column(name="gain_interval", label="interval over base", value=_gain_low, text=_gain_interval),
        _score("gain_low", "low end over base", _gain_low),
        _score("gain_high", "high end over base", _gain_high),
        _field("reason", "why", numeric=False, wraps=True),
        _field("ended", "ended", field="reason", numeric=False),
        _field("evaluations", "evaluations"),
        _field("best_dev_value", "best on eval.dev", formatting.score),
        _field("device_seconds", "device time", formatting.duration),
        _field("peak_memory_bytes", "memory", formatting.size),
        *(_field(name, name) for name in ("seed", "attempt", "elapsed_seconds", "device", "pack_size")),
        *(_field(name, name) for name in ("best_step", "adapter", "adapter_sha256")),
    ]


def _parameters(report: ComparisonReport) -> list[Column]:
    def declare(name: str, *, categorical: bool) -> Column:
        return Column(
            name=f"{PARAMETER}{name}",
            label=name,
            value=lambda trial: trial.params.get(name),
            text=lambda trial: one_line(formatting.parameter(trial.params.get(name, "–"))),
            wraps=categorical,
        )

    return [declare(p.name, categorical=p.kind == "categorical") for p in report.study.parameters]


def _metrics(report: ComparisonReport, *, ends: bool) -> list[Column]:
    """Declare a column for each metric on eval.select; with `ends` also for both ends of its interval."""

    def declare(name: str) -> list[Column]:
        def value(trial: TrialFacts) -> float | None:
            return trial.metrics.get(name) if isinstance(trial, RankedTrial) else None

        def interval(trial: TrialFacts) -> Interval | None:
            return trial.intervals.get(name) if isinstance(trial, RankedTrial) else None

        def low(trial: TrialFacts) -> float | None:
            return found.low if (found := interval(trial)) else None

        def high(trial: TrialFacts) -> float | None:
            return found.high if (found := interval(trial)) else None

        label, column = formatting.label(name), f"{METRIC}{name}"
        shown = [_score(column, label, value, interval=interval)]
        return [*shown, *(_score(f"{column}.{end.__name__}", "", end) for end in (low, high) if ends)]

    return [column for name in metric_names(report) for column in declare(name)]


def _field(
    name: str,
    label: str,
    format_value: Callable[[Any], str] = str,
    *,
    field: str | None = None,
    numeric: bool = True,
    wraps: bool = False,
    interval: Callable[[TrialFacts], Interval | None] = _no_interval,
) -> Column:
    """Declare a column of one field of the trial; it is empty for a trial that has no such field."""

    def value(trial: TrialFacts) -> Any:
        return getattr(trial, field or name, None)

    return Column(
        name=name,
        label=label,
        value=value,
        text=lambda trial: one_line(format_value(value(trial))),
        numeric=numeric,
        wraps=wraps,
        interval=interval,
    )


def _score(
    name: str,
    label: str,
    value: Callable[[TrialFacts], float | None],
    *,
    interval: Callable[[TrialFacts], Interval | None] = _no_interval,
) -> Column:
    return Column(
        name=name,
        label=label,
        value=value,
        text=lambda trial: formatting.score(value(trial)),
        interval=interval,
    )


def _rank(trial: TrialFacts) -> int | None:
    return trial.rank if isinstance(trial, RankedTrial) else None


def _place(trial: TrialFacts) -> str:
    return str(trial.rank) if isinstance(trial, RankedTrial) else formatting.state(trial.state)


def _interval_of(trial: TrialFacts) -> Interval | None:
    return trial.interval if isinstance(trial, RankedTrial) else None


def _low(trial: TrialFacts) -> float | None:
    interval = _interval_of(trial)
    return interval.low if interval else None


def _high(trial: TrialFacts) -> float | None:
    interval = _interval_of(trial)
    return interval.high if interval else None


def _gain_interval_of(trial: TrialFacts) -> Interval | None:
    return trial.gain_interval if isinstance(trial, RankedTrial) else None


def _gain_low(trial: TrialFacts) -> float | None:
    interval = _gain_interval_of(trial)
    return interval.low if interval else None


def _gain_high(trial: TrialFacts) -> float | None:
    interval = _gain_interval_of(trial)
    return interval.high if interval else None


def _interval(trial: TrialFacts) -> str:
    return formatting.between(_interval_of(trial))


def _gain_interval(trial: TrialFacts) -> str:
    return formatting.between(_gain_interval_of(trial))
