"""Read rows of each format: which columns are the system turn, the history, the question and the answer."""

from collections.abc import Sequence
from typing import Any

from loratory.objectives.data.calls import read_tools
from loratory.objectives.data.conversations import (
    Dialogue,
    TurnReader,
    marked,
    split_answer,
    written_turns,
)
from loratory.objectives.data.detection import NEEDED_COLUMNS
from loratory.objectives.data.learned_columns import (
    HISTORY_COLUMNS,
    INPUT_COLUMNS,
    SYSTEM_COLUMNS,
    TOOLS_COLUMNS,
    is_filled,
    is_null,
)
from loratory.objectives.data.rows import BadRowError, Role, Turn
from loratory.objectives.data.values import as_text, from_json, scalar_text, shortened
from loratory.objectives.data.view import Columns, View, is_turns
from loratory.spaces.data import DataFormat
from loratory.spaces.errors import InputError


class Layout:
    """Reads the rows of a source in one format.

    Attributes:
        as_written: whether prompts are texts that already have the form in which the model reads them.
        turns: reader of turns, which knows the keys that were not used.
    """

    def __init__(self, found: DataFormat, columns: Columns, first: View, *, template: bool = False) -> None:
        self._found, self._columns = found, columns
        # Where a template makes the prompts, there need be no column of them.
        self._has_prompt = not template or first.has("prompt")
        self.as_written = found is DataFormat.COMPLETION and not _is_conversational(first)
        self.turns = TurnReader(columns.unwanted)

    @property
    def answer_column(self) -> str:
        """The column of the answer, under the name that the format expects."""
        return NEEDED_COLUMNS[self._found][-1]

    @property
    def columns(self) -> list[str]:
        """Columns and paths that rows are read from, as the file names them."""
        optional: list[tuple[str, ...]] = [] if self.as_written else [SYSTEM_COLUMNS, TOOLS_COLUMNS]
        if self._found is DataFormat.ALPACA:
            optional += [INPUT_COLUMNS, HISTORY_COLUMNS]
        read = [self._columns.actual(name) for name in NEEDED_COLUMNS[self._found]]
        for names in optional:
            read += [self._columns.actual(name) for name in self._candidates(names)]
        return [column for column in read if column not in self._columns.unwanted]

    def read(self, view: View) -> Dialogue:
        """Return the turns and the answer of a row.

        Raises:
            BadRowError: a value is missing, null or of the wrong type.
            InputError: a column or a mark cannot be honoured.
        """
        if self.as_written:
            # The space before an answer is part of it, since it decides how the first word is tokenised.
            prompt = view.text("prompt") if self._has_prompt else ""
            return Dialogue((Turn(Role.PROMPT, prompt),), view.text("completion").rstrip())
        if self._found is DataFormat.ALPACA:
            return self._alpaca(view)
        if self._found is DataFormat.COMPLETION:
            return self._conversational(view)
        column = NEEDED_COLUMNS[self._found][0]
        return split_answer(self._with_system(view, self._turns(view, column)))

    def tools(self, view: View) -> str:
        """Return the row's tools as JSON text; "" where it has none.

        Raises:
            BadRowError: the value is no list of objects.
        """
        if self.as_written or self._lacks(view, TOOLS_COLUMNS):
            return ""
        filled = [name for name in self._candidates(TOOLS_COLUMNS) if is_filled(view.optional(name))]
        self._check_one(view, filled)
        return read_tools(view.value(filled[0]), view.raw.place, view.actual(filled[0])) if filled else ""

    def _alpaca(self, view: View) -> Dialogue:
        turns = [
            Turn(Role.SYSTEM, self._text(view, SYSTEM_COLUMNS)),
            *self._history(view),
            Turn(Role.USER, view.text("instruction").strip()),
            Turn(Role.INPUT, self._text(view, INPUT_COLUMNS)),
        ]
        return Dialogue(tuple(t for t in turns if t.text or t.calls), view.text("output").strip())

    def _conversational(self, view: View) -> Dialogue:
        """Read TRL's conversational prompt and completion: what the completion has is learned."""
        prompt = self._turns_or_text(view, "prompt", Role.USER)
        completion = self._turns_or_text(view, "completion", Role.ASSISTANT)
        turns = [*marked(prompt, False), *marked(completion, True)]
        return split_answer(self._with_system(view, turns))

    def _turns(self, view: View, column: str) -> list[Turn]:
        return self.turns.read(view.value(column), view.raw.place, view.actual(column))

    def _turns_or_text(self, view: View, column: str, role: Role) -> list[Turn]:
        turns = written_turns(view.value(column))
        if turns is not None:
            return self.turns.read(turns, view.raw.place, view.actual(column))
        return [Turn(role, view.text(column).strip())]

    def _with_system(self, view: View, turns: list[Turn]) -> list[Turn]:
        text = self._text(view, SYSTEM_COLUMNS)
        if not text or (turns and turns[0].role is Role.SYSTEM and turns[0].text == text):
            return turns
        if turns and turns[0].role is Role.SYSTEM and turns[0].text:
            raise BadRowError(
                view.raw.place,
                "must have one system text, has a column and a turn that differ; leave one out",
            )
        return [Turn(Role.SYSTEM, text), *turns]

    def _history(self, view: View) -> list[Turn]:
        """Return the turns of Alpaca's `history`: pairs of question and answer, or a list of turns."""
        if self._lacks(view, HISTORY_COLUMNS):
            return []
        value = from_json(view.optional("history"))
        if not is_filled(value):
            return []
        column = view.actual("history")
        if is_turns(value):
            return self.turns.read(value, view.raw.place, column)
        pairs = value if isinstance(value, list) else [value]
        return [turn for pair in pairs for turn in _pair(pair, view.raw.place, column)]

    def _text(self, view: View, names: tuple[str, ...]) -> str:
        """Return the text of the one column of several names that is filled; "" where none is."""
        if self._lacks(view, names):
            return ""
        values = {name: view.optional(name) for name in self._candidates(names)}
        filled = [name for name, value in values.items() if value is not None and scalar_text(value) != ""]
        if len(filled) > 1:
            filled = [name for name in filled if (scalar_text(values[name]) or "-").strip()]
            self._check_one(view, filled)
        return view.optional_text(filled[0]).strip() if filled else ""

    def _lacks(self, view: View, names: tuple[str, ...]) -> bool:
        """Return whether a row surely has none of the columns."""
        return names[0] not in self._columns.names and view.raw.fields.keys().isdisjoint(names)

    def _candidates(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names under which a column is looked for: where it is mapped, the first alone."""
        return names[:1] if names[0] in self._columns.names else names

    def _check_one(self, view: View, filled: Sequence[str]) -> None:
        if len(filled) > 1:
            raise InputError(
                f"{view.raw.place}: {filled[0]} and {filled[1]} must not both be filled: "
                f"leave one out with data.columns: {{{filled[1]}: null}}"
            )


def _is_conversational(view: View) -> bool:
    return any(written_turns(view.optional(column)) is not None for column in ("prompt", "completion"))


def _pair(pair: Any, row_place: str, column: str) -> list[Turn]:
    if not isinstance(pair, list) or len(pair) != 2:
        raise BadRowError(
            row_place, f"{column} must be a list of pairs [question, answer], holds {shortened(pair)}"
        )
    roles = (Role.USER, Role.ASSISTANT)
    texts = ["" if is_null(text) else as_text(text, row_place, column).strip() for text in pair]
    return [Turn(role, text) for role, text in zip(roles, texts, strict=True)]
