"""Prepare a study's data, from its sources to token ids: read, clean and split. Loads no weights."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from loratory.objectives.data.drawing import draw, split_count, split_fraction
from loratory.objectives.data.duplicates import clean
from loratory.objectives.data.encoding import Encoded, Encoder
from loratory.objectives.data.formats import parse_rows
from loratory.objectives.data.labels import find_labels
from loratory.objectives.data.lengths import Lengths, check_max_length, within_length
from loratory.objectives.data.prepared import Example, Examples, PreparedData
from loratory.objectives.data.rendering import PromptStyle, Tokenizer, choose_renderer
from loratory.objectives.data.rows import Ledger, Part
from loratory.objectives.data.screening import screen
from loratory.objectives.data.sources import read_sources
from loratory.objectives.data.summary import Summary
from loratory.objectives.study_folder import EXAMPLES, REMOVED
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec


@dataclass(frozen=True, kw_only=True)
class DataPreparation:
    """The prepared data of a study, and what was done to it.

    Attributes:
        data: the splits, ready to train on.
        removed: one dict per removed row: split, file, row, reason, detail, content.
        summary: lines for the terminal.
        files: files for data/ in the study folder: removed.jsonl, and examples.json with the ids and groups
            of every split in its fixed order, and how prompts are made.
    """

    data: PreparedData
    removed: tuple[dict[str, Any], ...]
    summary: tuple[str, ...]
    files: dict[str, bytes]


def prepare_data(
    study: StudySpec, tokenizer: Tokenizer, *, max_positions: int | None = None
) -> DataPreparation:
    """Read, clean, split and encode the data of a study.

    Args:
        study: a study with a data section.
        tokenizer: the base model's.
        max_positions: longest input of the model, in tokens; None: no limit.

    Raises:
        InputError: a source cannot be read, a split is left empty, or the splits do not fit the study.
    """
    if study.data is None:
        raise InputError("a study of objective qlora needs a section data")
    check_max_length(study.data, max_positions)
    return _Preparation(study, study.data, tokenizer, max_positions).run()


class _Preparation:
    """The steps of the preparation, and the state that they share."""

    def __init__(
        self, study: StudySpec, data: DataSpec, tokenizer: Tokenizer, max_positions: int | None
    ) -> None:
        self._data, self._evaluation = data, study.evaluation
        renderer = choose_renderer(tokenizer, data.prompt_template)
        self._encoder, self._style = Encoder(tokenizer, renderer), renderer.style
        self._max_positions = max_positions
        self._ledger = Ledger()
        self._summary = Summary(renderer.description)

    def run(self) -> DataPreparation:
        parts = self._split(self._read())
        fitting = {part: self._within_length(parts[part], part) for part in Part}
        parts = clean(fitting, cleaning=self._data.cleaning, ledger=self._ledger)
        self._check_left(parts)
        return self._finish(parts)

    def _read(self) -> dict[Part, list[Encoded]]:
        encoded = {}
        for part, raw in read_sources(self._data).items():
            parsed = parse_rows(raw, self._data)
            parsed.note_removed(part, self._ledger)
            self._summary.read(part, raw, parsed.found)
            self._summary.columns(part, parsed.unused)
            if part is Part.TRAIN and parsed.as_written and self._style is PromptStyle.SECTIONS:
                self._style = PromptStyle.AS_WRITTEN
                self._summary.prompts = "prompts: as the rows write them"
            encoded[part] = self._encoder.encode(screen(parsed.rows, part, self._ledger), part, self._ledger)
            if not encoded[part]:
                raise InputError(self._nothing_left(part))
        return encoded

    def _split(self, read: dict[Part, list[Encoded]]) -> dict[Part, list[Encoded]]:
        parts = {part: read.get(part, []) for part in Part}
        if Part.EVAL not in read:
            train = parts[Part.TRAIN]
            if len({e.row.group_key for e in train}) < 2:
                raise InputError(
                    "data.eval must name a source: the rows of train are all one group and cannot be split; "
                    "or set data.group_column: null"
                )
            halves = split_fraction(
                train, self._data.eval_fraction, group=lambda e: e.row.group_key, salt="eval"
            )
            parts[Part.TRAIN], parts[Part.EVAL] = list(halves.rest), list(halves.drawn)
            self._summary.drew_eval(len(halves.drawn), len(train), self._data.eval_fraction)
        return parts

    def _within_length(self, examples: Sequence[Encoded], part: Part) -> list[Encoded]:
        lengths = Lengths(self._data.max_length, self._max_positions, self._evaluation.max_new_tokens)
        return within_length(examples, part, lengths=lengths, ledger=self._ledger)

    def _check_left(self, parts: dict[Part, list[Encoded]]) -> None:
        for part, examples in parts.items():
            asked = part is not Part.TEST or self._ledger.counts(part)
            if asked and not examples:
                raise InputError(self._nothing_left(part))

    def _nothing_left(self, part: Part) -> str:
        counts = ", ".join(f"{count} {reason}" for reason, count in self._ledger.counts(part).items())
        first = self._ledger.first(part) or {}
        return (
            f"data.{part} must leave examples, all rows were removed ({counts}); "
            f"first {first.get('file')}, row {first.get('row')}: {first.get('detail')}"
        )

    def _finish(self, parts: dict[Part, list[Encoded]]) -> DataPreparation:
        labels = find_labels(
            parts,
            task=self._data.task,
            max_new_tokens=self._evaluation.max_new_tokens,
        )
        examples = _examples(parts)
        data = self._assemble(examples, labels)
        self._summary.sizes(examples, data, self._data)
        self._summary.lengths(data, self._evaluation.max_new_tokens)
        return DataPreparation(
            data=data,
            removed=tuple(self._ledger.entries),
            summary=self._summary.lines(self._ledger),
            files={REMOVED: self._ledger.to_jsonl(), EXAMPLES: _listing(data, self._style)},
        )

    def _assemble(self, examples: dict[Part, list[Example]], labels: tuple[str, ...]) -> PreparedData:
        dev_size, found = self._evaluation.dev_examples, len(examples[Part.EVAL])
        if dev_size >= found:
            remedy = (
                "lower it, or give more examples for eval" if found > 1 else "give more examples for eval"
            )
            raise InputError(
                f"evaluation.dev_examples must leave eval examples for select: eval has {found} "
                f"after cleaning, got {dev_size}; {remedy}"
            )
        eval_ = split_count(examples[Part.EVAL], dev_size, group=_group, key=_id, salt="dev")
        self._summary.split_eval(eval_)
        data = PreparedData(
            train=_drawn(examples[Part.TRAIN], self._data.train_examples, "train"),
            dev=Examples.of(eval_.drawn),
            select=_drawn(eval_.rest, self._evaluation.select_examples, "select"),
            test=_drawn(examples[Part.TEST], self._evaluation.test_examples, "test"),
            labels=labels,
            sha256="",
        )
        return replace(data, sha256=content_hash(data))


def content_hash(data: PreparedData) -> str:
    """Return the SHA-256, in hex, of all fields but this hash; equal on every machine."""
    digest = hashlib.sha256()
    for name in ("train", "dev", "select", "test"):
        digest.update(f"{name}\n".encode())
        for example in getattr(data, name):
            digest.update((json.dumps(_fields(example), sort_keys=True) + "\n").encode())
    digest.update(json.dumps(data.labels).encode())
    return digest.hexdigest()


def _fields(example: Example) -> dict[str, Any]:
    """Return what is hashed of an example; a mask only where it has one, so that old hashes stay."""
    return {name: value for name, value in vars(example).items() if value is not None}


def _examples(parts: dict[Part, list[Encoded]]) -> dict[Part, list[Example]]:
    """Return examples with unique ids; eval is named first, so its ids do not depend on train."""
    uses: Counter[str] = Counter()
    return {part: list(_named(parts[part], uses)) for part in (Part.EVAL, Part.TEST, Part.TRAIN)}


def _named(examples: Iterable[Encoded], uses: Counter[str]) -> Iterable[Example]:
    for example in examples:
        content_id, group = example.row.content_id, example.row.group
        uses[content_id] += 1
        example_id = content_id if uses[content_id] == 1 else f"{content_id}-{uses[content_id]}"
        yield Example(
            example_id=example_id,
            group=content_id if group is None else group,
            prompt=example.prompt,
            reference=example.reference,
            prompt_ids=example.prompt_ids,
            answer_ids=example.answer_ids,
        )


def _drawn(examples: Sequence[Example], count: int | None, salt: str) -> Examples:
    return Examples.of(examples if count is None else draw(examples, count, key=_id, salt=salt))


def _id(example: Example) -> str:
    return example.example_id


def _group(example: Example) -> str:
    return example.group


def _listing(data: PreparedData, style: PromptStyle) -> bytes:
    splits = {
        name: [{"id": example.example_id, "group": example.group} for example in getattr(data, name)]
        for name in ("train", "dev", "select", "test")
    }
    listing = {"sha256": data.sha256, "prompt_style": style, "labels": data.labels, "splits": splits}
    return (json.dumps(listing, indent=1, ensure_ascii=False) + "\n").encode()
