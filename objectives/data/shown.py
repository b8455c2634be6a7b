"""Lines of `loratory check` on the data: a rendered row of each split with what is learned, and lengths."""

import sys
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby

import numpy as np

from loratory.objectives.data.prepared import Example, Examples, PreparedData
from loratory.objectives.data.rendered import Tokenizer
from loratory.objectives.data.rows import Part, Reason

COLUMNS = 80
_MARKS, _ASCII_MARKS = ("▌", "▐"), ("[[", "]]")
_INDENT = "  "
_HEAD = 20
"""Lines shown of the beginning and of the end of a long row."""
_PERCENTILES = (10, 50, 90, 99, 100)


def learned_marks() -> tuple[str, str]:
    """Return the marks around learned text, in ASCII where the terminal writes nothing else."""
    try:
        "".join(_MARKS).encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return _ASCII_MARKS
    return _MARKS


def shown_rows(data: PreparedData, tokenizer: Tokenizer, marks: tuple[str, str]) -> Iterator[str]:
    """Yield lines that show the first row of each split as the model reads it.

    Args:
        data: the splits.
        tokenizer: the base's; tokens are shown as the text that they stand for.
        marks: stand before and after what is learned.
    """
    begin, end = marks
    yield f"one row of each split; what the loss is on stands in {begin}...{end}"
    for name in ("train", "dev", "select", "confirm", "test"):
        split: Examples = getattr(data, name)
        if not split:
            continue
        example = split[0]
        of_them = learned_count(example) if name == "train" else len(example.answer_ids)
        yield f"{name} ({example.example_id}, {len(example):,} tokens, {of_them:,} with loss):"
        scored = example if name == "train" else _with_answer_alone(example)
        text = marked_text(scored, tokenizer, marks)
        yield from _middle_cut([line for part in text.split("\n") for line in _wrapped(part)])


def learned_count(example: Example) -> int:
    """Return the number of tokens of an example that the loss is on."""
    return len(example.answer_ids) if example.learned is None else sum(example.learned)


def marked_text(example: Example, tokenizer: Tokenizer, marks: tuple[str, str]) -> str:
    """Return the text of an example's tokens, with marks around what is learned."""
    mask = example.learned or (*[False] * len(example.prompt_ids), *[True] * len(example.answer_ids))
    text = ""
    tokens = zip((*example.prompt_ids, *example.answer_ids), mask, strict=True)
    for learned, run in groupby(tokens, key=lambda pair: pair[1]):
        reads = tokenizer.batch_decode(
            [[token for token, _ in run]], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )[0]
        text += f"{marks[0]}{reads}{marks[1]}" if learned else reads
    return "".join(c if c.isprintable() or c == "\n" else ascii(c)[1:-1] for c in text)


def shown_columns(columns: Mapping[Part, tuple[Sequence[str], Sequence[str]]]) -> Iterator[str]:
    """Yield a line on the columns of each source: those used, and those not used."""
    for part, (used, unused) in columns.items():
        yield f"{part}: columns used: {', '.join(used) or 'none'}; not used: {', '.join(unused) or 'none'}"


def shown_lengths(
    data: PreparedData,
    *,
    counts: Mapping[Part, Mapping[str, int]],
    read: Mapping[Part, int],
    max_length: int,
    max_new_tokens: int,
) -> Iterator[str]:
    """Yield lines on the lengths of train, and on what is removed or cut for its length.

    Args:
        data: the splits.
        counts: removed rows by reason, of each split that was read.
        read: rows read of each.
        max_length: `data.max_length`.
        max_new_tokens: `evaluation.max_new_tokens`.
    """
    columns = "".join(f"{f'{p}%' if p < 100 else 'longest':>9}" for p in _PERCENTILES)
    yield f"{'tokens of train':<20}{columns}"
    for name, lengths in (
        ("prompt and answer", data.train.lengths),
        ("answer", data.train.answer_lengths),
    ):
        values = np.percentile(lengths, _PERCENTILES).astype(int)
        yield f"{_INDENT}{name:<18}" + "".join(f"{value:>9,}" for value in values)
    for part, total in read.items():
        removed = counts.get(part, {}).get(Reason.OVER_LENGTH.value, 0)
        yield (
            f"{part}: {removed:,} of {total:,} rows ({share(removed, total)}) removed for their length "
            f"(data.max_length {max_length:,})"
        )
    scored = {name: split for name, split in data.named_splits.items() if name != "train"}
    cut, total = (
        sum(int((s.answer_lengths > max_new_tokens).sum()) for s in scored.values()),
        sum(map(len, scored.values())),
    )
    yield (
        f"{', '.join(scored)}: {cut:,} of {total:,} answers ({share(cut, total)}) are longer than what is "
        f"decoded (evaluation.max_new_tokens {max_new_tokens:,})"
    )


def share(count: int, total: int) -> str:
    """Return a share in per cent; a small one is never shown as none."""
    percent = 100 * count / max(total, 1)
    return "under 0.1%" if 0 < percent < 0.1 else f"{percent:.1f}%"


def _with_answer_alone(example: Example) -> Example:
    return replace(example, learned=None)


def _wrapped(line: str) -> list[str]:
    """Return a line in pieces of the terminal's width; wide characters count twice."""
    pieces, piece, width = [], "", 0
    for character in line:
        wide = _width(character)
        if width + wide > COLUMNS - len(_INDENT):
            pieces.append(_INDENT + piece)
            piece, width = "", 0
        piece, width = piece + character, width + wide
    return [*pieces, _INDENT + piece]


def _width(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def _middle_cut(lines: Sequence[str]) -> list[str]:
    left_out = len(lines) - 2 * _HEAD
    if left_out <= 1:
        return list(lines)
    return [*lines[:_HEAD], f"{_INDENT}... ({left_out:,} more lines)", *lines[-_HEAD:]]
