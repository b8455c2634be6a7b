"""Parse raw rows into prompts and answers: alpaca, chat messages, ShareGPT and prompt/completion."""

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from loratory.objectives.data.detection import detect_format
from loratory.objectives.data.layouts import Layout
from loratory.objectives.data.learned_columns import LEARNED_COLUMNS, is_null
from loratory.objectives.data.prompt_template import fill_template, template_columns
from loratory.objectives.data.row_columns import RowColumns
from loratory.objectives.data.rows import BadRowError, RawRow, Reason, Role, Row, Turn
from loratory.objectives.data.values import scalar_text, shortened
from loratory.objectives.data.view import MISSING, Columns, View, described
from loratory.spaces.data import BadRows, DataFormat, DataSpec, Learn
from loratory.spaces.errors import InputError

_USUAL_GROUP = DataSpec.model_fields["group_column"].default
_RENAMEABLE = (
    "messages",
    "conversations",
    "system",
    "instruction",
    "input",
    "output",
    "history",
    "prompt",
    "completion",
    "tools",
)


@dataclass(frozen=True, kw_only=True)
class RemovedRow:
    """A row that was not parsed, with the reason and what was wrong."""

    raw: RawRow
    reason: Reason
    detail: str


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """The rows of one source.

    Attributes:
        rows: the parsed rows in order.
        found: their format.
        as_written: whether prompts are texts that already have the form in which the model reads them.
        removed: rows that could not be read, or whose marks leave nothing to learn.
        used: columns that were read, as the file names them.
        unused: columns and keys of turns that were not.
    """

    rows: list[Row]
    found: DataFormat
    as_written: bool
    removed: list[RemovedRow]
    used: tuple[str, ...]
    unused: tuple[str, ...]


def parse_rows(rows: Iterable[RawRow], data: DataSpec) -> Parsed:
    """Parse the rows of one source.

    Args:
        rows: raw rows.
        data: format, names of columns, group column, prompt template and treatment of bad rows.

    Raises:
        InputError: a row cannot be read and stops the study, a column changes what is learned and is not
            read, or a mark cannot be honoured.
    """
    parser = RowParser(data)
    parsed = list(parser.parse(rows))
    return Parsed(
        rows=parsed,
        found=parser.found,
        as_written=parser.as_written,
        removed=parser.removed,
        used=parser.used,
        unused=parser.unused,
    )


class RowParser:
    """Parses the rows of one source, one by one; the first that can be read tells the format.

    Attributes:
        found: the format, once a row was read.
        removed: rows that could not be read, or whose marks leave nothing to learn.
        unfound: names in `data.columns` whose column or path no row had so far.
    """

    def __init__(self, data: DataSpec) -> None:
        _check_renames(data.columns)
        self._data = data
        self._columns = Columns(data.columns)
        self._template = template_columns(data.prompt_template) if data.prompt_template is not None else None
        self._layout: Layout | None = None
        self._watch: RowColumns | None = None
        self._read_any = False
        self.found = data.format
        self.removed: list[RemovedRow] = []
        self.unfound = set(self._columns.names)

    @property
    def as_written(self) -> bool:
        """True if prompts are plain text, which the model reads as it is."""
        return self._layout is not None and self._layout.as_written

    @property
    def used(self) -> tuple[str, ...]:
        """Columns that were read, as the file names them."""
        return tuple(self._watch.used) if self._watch else ()

    @property
    def unused(self) -> tuple[str, ...]:
        """Columns and keys of turns that were not read."""
        if self._watch is None or self._layout is None:
            return ()
        return (
            *(name for name in self._watch.unused if name not in self._watch.used),
            *self._layout.turns.unused,
        )

    def parse(self, rows: Iterable[RawRow]) -> Iterator[Row]:
        """Return the parsed rows; those that cannot be read stop, or are kept in `removed`.

        Raises:
            InputError: as `parse_rows`.
        """
        for raw in rows:
            if raw.problem:
                self._remove(raw, Reason.UNREADABLE, raw.problem)
                continue
            try:
                row = self._row(raw)
            except BadRowError as error:
                if self._data.bad_rows is BadRows.STOP:
                    raise
                self._remove(raw, Reason.UNREADABLE, error.rule)
                self._forget_format()
                continue
            self._read_any = True
            if row is None:
                self._remove(raw, Reason.NOT_LEARNED, "its marks leave no answer to learn")
            else:
                yield row

    def _forget_format(self) -> None:
        """Let the next row tell the format, if no row could be read by what the last one told."""
        if not self._read_any:
            self._layout = self._watch = None
            self.found = self._data.format

    def _remove(self, raw: RawRow, reason: Reason, detail: str) -> None:
        self.removed.append(RemovedRow(raw=raw, reason=reason, detail=detail))

    def _row(self, raw: RawRow) -> Row | None:
        view = View(raw, self._columns)
        if self.unfound:
            self.unfound -= {name for name in self.unfound if view.has(name)}
        layout, watch = self._begun(view)
        learned = watch.learns(raw)
        dialogue = layout.read(view)
        if not (learned and dialogue.learned):
            return None
        self._check_learned(dialogue.turns, raw)
        turns, tools = dialogue.turns, ""
        if self._data.prompt_template is None:
            tools = layout.tools(view)
        else:
            text = fill_template(self._data.prompt_template, view, answer=layout.answer_column)
            turns = (Turn(Role.PROMPT, text),)
        return Row(
            raw=raw,
            turns=turns,
            answer=dialogue.answer,
            group=_group(raw, self._columns, self._data),
            answer_calls=dialogue.calls,
            tools=tools,
        )

    def _check_learned(self, turns: tuple[Turn, ...], raw: RawRow) -> None:
        if self._data.learn is Learn.LAST and any(turn.learn for turn in turns):
            raise InputError(
                f"{raw.place}: an earlier answer is marked as learned, and data.learn: last learns the last "
                "answer alone; set data.learn: all, or leave the marks out with data.columns: {weight: null}"
            )

    def _begun(self, view: View) -> tuple[Layout, RowColumns]:
        """Return how rows are read, which the first row that can be read decides."""
        if self._layout is None or self._watch is None:
            template = self._template is not None
            self.found = detect_format(view, self._data.format, mapped=self._columns.names, template=template)
            self._layout = Layout(self.found, self._columns, view, template=template)
            read, learned = self._layout.columns, LEARNED_COLUMNS
            if self._template is not None:
                # A template decides by itself what the model reads.
                read = [self._columns.actual(name) for name in (*self._template, self._layout.answer_column)]
                learned = frozenset()
            read += [self._data.group_column] if self._data.group_column else []
            self._watch = RowColumns(self._columns, read, learned)
        return self._layout, self._watch


def _group(raw: RawRow, columns: Columns, data: DataSpec) -> str | None:
    column = data.group_column
    if column is None:
        return None
    value = columns.find(raw.fields, column)
    if value is MISSING:
        if column == _USUAL_GROUP:
            return None
        raise BadRowError(
            raw.place,
            f"must have the column {column} that data.group_column names, has {described(raw.fields)}",
        )
    # pandas makes 3.0 of a group 3 where another row has none.
    text = str(int(value)) if isinstance(value, float) and value.is_integer() else scalar_text(value)
    if text is None and not is_null(value):
        raise BadRowError(
            raw.place, f"{column} must be text or a number, got {type(value).__name__} {shortened(value)}"
        )
    return text or None


def _check_renames(columns: dict[str, str | None]) -> None:
    for name, column in columns.items():
        if column is not None and name not in _RENAMEABLE:
            close = difflib.get_close_matches(name, _RENAMEABLE, n=1)
            hint = f": did you mean {close[0]}?" if close else f"; known are {', '.join(_RENAMEABLE)}"
            raise InputError(f"data.columns: no format expects a column {name}{hint}")
