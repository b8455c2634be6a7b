"""Prepare a study's data, from its sources to token ids: read, clean and split. Loads no weights."""

import gc
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from loratory.objectives.data.answers import check_answers_found
from loratory.objectives.data.content import content_hash, with_unique_ids
from loratory.objectives.data.duplicates import clean
from loratory.objectives.data.encoded_rows import EncodedRows, Indices
from loratory.objectives.data.encoding import Encoder
from loratory.objectives.data.labels import find_labels, return_missing, unscored
from loratory.objectives.data.lengths import Lengths, resolve_max_length, within_length
from loratory.objectives.data.listing import listing
from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.data.reading import ReadSource, read_encoded
from loratory.objectives.data.rendering import (
    PromptStyle,
    Renderer,
    RenderingRules,
    Tokenizer,
    choose_renderer,
)
from loratory.objectives.data.rows import Ledger, Part
from loratory.objectives.data.shown import learned_marks, shown_columns, shown_lengths, shown_rows
from loratory.objectives.data.splits import Draws, draw_eval
from loratory.objectives.data.summary import Summary
from loratory.objectives.study_folder import EXAMPLES, REMOVED
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError
from loratory.spaces.metric_names import Task
from loratory.spaces.study import StudySpec

__all__ = ["DataPreparation", "content_hash", "prepare_data"]


@dataclass(frozen=True, kw_only=True)
class DataPreparation:
    """The prepared data of a study, and what was done to it.

    Attributes:
        data: the splits, ready to train on.
        summary: lines for the terminal.
        files: files for data/ in the study folder: removed.jsonl, and examples.json with the ids and groups
            of every split in its fixed order, and how prompts are made.
        shown: lines that only `loratory check` prints.
    """

    data: PreparedData
    summary: tuple[str, ...]
    files: dict[str, bytes]
    shown: tuple[str, ...] = ()

    @cached_property
    def removed(self) -> tuple[dict[str, Any], ...]:
        """One dict per removed row: split, file, row, reason, detail, content."""
        return tuple(json.loads(line) for line in self.files[REMOVED].splitlines())


def prepare_data(
    study: StudySpec,
    tokenizer: Tokenizer,
    *,
    max_positions: int | None = None,
    created_at: str | None = None,
) -> DataPreparation:
    """Read, clean, split and encode the data of a study.

    Args:
        study: a study with a data section.
        tokenizer: the base model's.
        max_positions: longest input of the model, in tokens; None: no limit.
        created_at: time at which the study began, ISO 8601, for templates that state the date; None takes
            the clock's.

    Raises:
        InputError: a source cannot be read, a split is left empty, or the splits do not fit the study.
    """
    if study.data is None:
        raise InputError("a study of objective qlora needs a section data")
    max_length = resolve_max_length(study.data, max_positions)
    lengths = Lengths(max_length, max_positions, study.evaluation.max_new_tokens)
    rules = RenderingRules.of(study.data, created_at)
    renderer = choose_renderer(tokenizer, study.data.prompt_template, rules)
    with _no_collection():
        return _Preparation(study, study.data, tokenizer, renderer, lengths=lengths).run()


@contextmanager
def _no_collection() -> Iterator[None]:
    """Switch the search for cyclic garbage off: a preparation makes none, and many objects to look at."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


class _Preparation:
    """The steps of the preparation, and the state that they share."""

    _rows: EncodedRows

    def __init__(
        self,
        study: StudySpec,
        data: DataSpec,
        tokenizer: Tokenizer,
        renderer: Renderer,
        *,
        lengths: Lengths,
    ) -> None:
        self._data, self._evaluation, self._lengths = data, study.evaluation, lengths
        self._metric = study.metric
        self._tokenizer, self._renderer = tokenizer, renderer
        self._encoder, self._style = Encoder(tokenizer, renderer), renderer.style
        self._ledger = Ledger()
        self._summary = Summary(renderer.description)

    def run(self) -> DataPreparation:
        parts = self._split(self._read())
        parts = {part: self._within_length(parts[part], part) for part in Part}
        parts = clean(
            self._rows,
            parts,
            cleaning=self._data.cleaning,
            near_duplicates=self._data.near_duplicates,
            ledger=self._ledger,
        )
        if self._label is not None and self._draws_eval:
            parts = return_missing(self._rows, parts)
        self._check_left(parts)
        return self._finish(parts)

    @property
    def _draws_eval(self) -> bool:
        return Part.EVAL not in self._sources

    def _read(self) -> dict[Part, Indices]:
        self._rows, self._sources = read_encoded(
            self._data, self._encoder, self._ledger, confirm=self._evaluation.confirm_examples != 0
        )
        for part, source in self._sources.items():
            self._note(part, source)
            if not len(source.indices):
                raise InputError(self._nothing_left(part))
        return {part: source.indices for part, source in self._sources.items()}

    def _note(self, part: Part, source: ReadSource) -> None:
        self._summary.read(part, source)
        if part is Part.TRAIN and source.as_written and self._style is PromptStyle.SECTIONS:
            self._style = PromptStyle.AS_WRITTEN
            self._summary.prompts = "prompts: as the rows write them"

    def _split(self, read: dict[Part, Indices]) -> dict[Part, Indices]:
        parts = {part: read.get(part, np.empty(0, dtype=np.int64)) for part in Part}
        if self._draws_eval:
            train, fraction = parts[Part.TRAIN], self._data.eval_fraction
            halves = draw_eval(self._rows, train, fraction, label=self._label)
            self._summary.drew_eval(len(halves.drawn), len(train), fraction)
            parts[Part.TRAIN], parts[Part.EVAL] = np.array(halves.rest), np.array(halves.drawn)
        return parts

    @cached_property
    def _label(self) -> Callable[[int], str] | None:
        """The label of a row by its index, where labels are drawn in proportion."""
        if self._data.task is not Task.CLASSIFICATION or not self._data.stratify:
            return None
        return list(self._rows.examples.references).__getitem__

    def _within_length(self, indices: Indices, part: Part) -> Indices:
        return within_length(self._rows, indices, part, lengths=self._lengths, ledger=self._ledger)

    def _check_left(self, parts: dict[Part, Indices]) -> None:
        for part, indices in parts.items():
            asked = part is not Part.TEST or self._ledger.counts(part)
            if asked and not len(indices):
                raise InputError(self._nothing_left(part))

    def _nothing_left(self, part: Part) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self._ledger.counts(part).items())
        first = self._ledger.first(part) or {}
        return (
            f"data.{part} must leave examples, all rows were removed ({counts}); "
            f"first {first.get('file')}, row {first.get('row')}: {first.get('detail')}"
        )

    def _finish(self, parts: dict[Part, Indices]) -> DataPreparation:
        check_answers_found(self._rows, parts, self._evaluation)
        labels: tuple[str, ...] = ()
        if self._data.task is Task.CLASSIFICATION:
            labels = find_labels(self._rows, parts, max_new_tokens=self._evaluation.max_new_tokens)
            if self._draws_eval:
                self._summary.unscored(unscored(self._rows, parts))
        data = self._assemble(parts, labels)
        self._summary.lengths(data, self._evaluation.max_new_tokens)
        return DataPreparation(
            data=data,
            summary=(*self._summary.lines(self._ledger), *self._renderer.notes()),
            files={REMOVED: self._ledger.to_jsonl(), EXAMPLES: self._listing(data)},
            shown=tuple(self._shown(data)),
        )

    def _listing(self, data: PreparedData) -> bytes:
        kept = [str(self._tokenizer.added_tokens_decoder[token]) for token in data.kept_ids]
        return listing(data, self._style, date=self._renderer.date, kept_tokens=kept)

    def _shown(self, data: PreparedData) -> Iterator[str]:
        yield from shown_rows(data, self._tokenizer, learned_marks())
        yield from shown_columns({part: (s.used, s.unused) for part, s in self._sources.items()})
        yield from shown_lengths(
            data,
            counts={part: self._ledger.counts(part) for part in Part},
            read={part: source.rows for part, source in self._sources.items()},
            max_length=self._lengths.max_length,
            max_new_tokens=self._evaluation.max_new_tokens,
        )

    def _assemble(self, parts: dict[Part, Indices], labels: tuple[str, ...]) -> PreparedData:
        named = with_unique_ids(self._rows.examples, [parts[p] for p in (Part.EVAL, Part.TEST, Part.TRAIN)])
        draws = Draws(named, self._label)
        eval_ = draws.halves(parts[Part.EVAL], self._evaluation.dev_examples)
        ranked = draws.selected(
            np.array(eval_.rest),
            select=self._evaluation.select_examples,
            confirm=self._evaluation.confirm_examples,
        )
        self._summary.divided(named, eval_, ("dev", "select"))
        if ranked.halves is not None:
            self._summary.divided(named, ranked.halves, ("select", "confirm"))
        data = PreparedData(
            train=draws.drawn(parts[Part.TRAIN], self._data.train_examples, "train"),
            dev=draws.drawn(np.array(eval_.drawn), None, "dev"),
            select=ranked.select,
            confirm=ranked.confirm,
            test=draws.drawn(parts[Part.TEST], self._evaluation.test_examples, "test"),
            labels=labels,
            sha256="",
            kept_ids=tuple(sorted(self._encoder.kept_ids)),
        )
        self._summary.sizes(named, parts, data, self._data, metric=self._metric)
        if self._evaluation.confirm_examples != 0:
            self._summary.confirm(data, self._evaluation.confirm_examples)
        return replace(data, sha256=content_hash(data))
