"""Progress of a study in the terminal: a live view, or plain lines where output is no terminal."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from loratory.objectives.events import Failed, Reported, Started, TrialEvent
from loratory.objectives.records import TrialRecord, TrialState
from loratory.search.progress import RunningTrial, StudyProgress, clock, short
from loratory.search.terminal import say

_COLOURS = {
    TrialState.COMPLETE: "green",
    TrialState.PRUNED: "yellow",
    TrialState.FAIL: "red",
    TrialState.INFEASIBLE: "magenta",
}


_OTHER_LINES = 5
"""Lines for headings, the count of hidden trials, and a summary of up to three lines."""
_ROW_LINES = 4
"""Lines of a trial whose parameters are wrapped in a narrow terminal."""


class PlainLines:
    """A watcher that prints one line per start, evaluation and end of a trial."""

    def __init__(self, console: Console, progress: StudyProgress) -> None:
        self._console, self._progress = console, progress

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:
        """Print the line of one event."""
        if isinstance(event, Started):
            word = "goes on" if record.measurements else "started"
            self._print(record, f"{word}: {short(record.params)}")
        elif isinstance(event, Reported):
            metric = self._progress.study.metric
            total = self._progress.study.evaluation.evaluations
            value = event.measurement.metrics[metric]
            self._print(record, f"evaluation {event.measurement.step}/{total}: {metric} {value:.4g} on dev")
        elif isinstance(event, Failed) and not record.state.finished:
            self._print(record, f"failure {len(record.failures)}, is tried again: {event.message}")

    def finished(self, record: TrialRecord) -> None:
        """Print how a trial ended."""
        self._print(record, ending(record, self._progress.study.metric))

    def close(self, timeout_seconds: float) -> list[str]:  # noqa: ARG002 (a watcher's signature)
        """Do nothing: this watcher holds no resources."""
        return []

    def _print(self, record: TrialRecord, text: str) -> None:
        say(self._console, f"trial {record.shown:>3}  {text}")


class FinishedLines:
    """A watcher that prints only how trials ended, above the live view."""

    def __init__(self, console: Console, progress: StudyProgress) -> None:
        self._console, self._progress = console, progress

    def observe(self, event: TrialEvent, record: TrialRecord) -> None:
        """Print nothing: the live view shows these events."""

    def finished(self, record: TrialRecord) -> None:
        """Print how a trial ended."""
        line = Text(f"trial {record.shown:>3}  ")
        line.append(f"{record.state:<10} ", style=_COLOURS.get(record.state, ""))
        line.append(f"{short(record.params)}  ", style="dim")
        line.append(ending(record, self._progress.study.metric, state=False))
        say(self._console, line)

    def close(self, timeout_seconds: float) -> list[str]:  # noqa: ARG002 (a watcher's signature)
        """Do nothing: this watcher holds no resources."""
        return []


def ending(record: TrialRecord, metric: str, *, state: bool = True) -> str:
    """Describe in one line how a trial ended."""
    prefix = f"{record.state}: " if state else ""
    if record.values:
        return f"{prefix}{metric} {record.values[0]:.4g} on select ({record.reason})"
    return f"{prefix}{record.reason}"


@contextmanager
def live_view(console: Console, progress: StudyProgress) -> Iterator[None]:
    """Show the running trials below all printed lines, updated four times per second."""
    with Live(
        get_renderable=lambda: render(progress, height=console.size.height),
        console=console,
        refresh_per_second=4,
        transient=True,
    ):
        yield


def render(progress: StudyProgress, *, height: int = 24) -> RenderableType:
    """Draw the live view as of now.

    Args:
        progress: the state of the study.
        height: lines of the terminal; trials that do not fit are only counted.
    """
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=bool(progress.running), header_style="dim")
    for heading in ("trial", "progress", "step", "loss", f"{progress.study.metric} on dev", "parameters"):
        table.add_column(heading, no_wrap=heading != "parameters")
    running = [trial for _, trial in sorted(progress.running.copy().items(), key=_by_number)]
    shown = running[: max(1, height - _OTHER_LINES)]
    wrap = len(shown) * _ROW_LINES <= height - _OTHER_LINES
    for trial in shown:
        table.add_row(*_row(trial, wrap=wrap))
    more = len(running) - len(shown)
    hidden = [Text(f"and {more} more at work", style="dim")] if more else []
    return Group(table, *hidden, _summary(progress))


def _by_number(item: tuple[str, RunningTrial]) -> tuple[int, str]:
    # Keys have four digits at least: the 10,000th trial's is longer.
    return len(item[0]), item[0]


def _row(trial: RunningTrial, *, wrap: bool) -> tuple[RenderableType, ...]:
    return (
        trial.shown,
        ProgressBar(total=max(1, trial.total), completed=trial.done, width=20),
        f"{trial.done}/{trial.total}",
        "-" if trial.loss is None else f"{trial.loss:.3f}",
        "-" if trial.value is None else f"{trial.value:.4g}",
        Text(short(trial.params), no_wrap=not wrap, overflow="fold" if wrap else "ellipsis"),
    )


def _summary(progress: StudyProgress) -> Text:
    counts = ", ".join(f"{count} {state}" for state, count in sorted(progress.states.copy().items()))
    text = Text(f"{progress.done}/{progress.limit} trials")
    text.append(f" ({counts})" if counts else "", style="dim")
    if (best := progress.best) is not None and best.values is not None:
        text.append(f"  best {progress.study.metric} {best.values[0]:.4g} on select (trial {best.shown})")
    elif not progress.running and not progress.states:
        text.append("  starting workers, scoring the untuned base", style="dim")
    if total := progress.retrainings():
        text.append(f"  {progress.retrained}/{total} retrained")
    text.append(f"  {clock(progress.seconds_left)} left", style="dim")
    return text
