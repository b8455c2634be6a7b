"""Lines of data preparation for the terminal: rows read, rows removed and why, examples left."""

from collections import Counter
from collections.abc import Mapping
from itertools import islice

import numpy as np

from loratory.objectives.data.drawing import Halves
from loratory.objectives.data.encoded_rows import Indices
from loratory.objectives.data.labels import look_alike
from loratory.objectives.data.prepared import Examples, PreparedData
from loratory.objectives.data.reading import ReadSource
from loratory.objectives.data.rows import Ledger, Part, Reason
from loratory.objectives.data.shares import half_width
from loratory.objectives.study_folder import REMOVED
from loratory.spaces.data import DataSpec

# Share of a split above which its removed rows are the first thing to say.
_MUCH = 0.2
_RIGHT_OR_WRONG = ("exact_match", "accuracy")
"""Metrics that are a share of right answers."""
_NAMED_LABELS = 10


class Summary:
    """Collects lines while data is prepared.

    Attributes:
        prompts: the line that says how prompts are made.
    """

    def __init__(self, prompts: str) -> None:
        self.prompts = prompts
        self._read: dict[Part, str] = {}
        self._rows: dict[Part, int] = {}
        self._unused: dict[Part, str] = {}
        self._after: list[str] = []
        self._held_back = 0

    def read(self, part: Part, source: ReadSource) -> None:
        """Note that a source was read, and the columns that were not used."""
        more = f" and {len(source.files) - 1:,} more files" if len(source.files) > 1 else ""
        first = source.files[0] if source.files else "no file"
        self._read[part] = f"{part}: read {source.rows:,} rows of {first}{more} ({source.found})"
        self._rows[part] = source.rows
        if source.unused:
            self._unused[part] = f"{part}: columns not used: {', '.join(source.unused)}"

    def drew_eval(self, drawn: int, total: int, fraction: float | None) -> None:
        """Note that eval was drawn from train; without a fraction of the study's own."""
        asked = f"data.eval_fraction {fraction:g}" if fraction else "data.eval_fraction sets another share"
        self._read[Part.EVAL] = f"eval: {drawn:,} of the {total:,} rows of train, by fixed hash ({asked})"
        self._rows[Part.EVAL] = drawn
        self._rows[Part.TRAIN] -= drawn

    def unscored(self, labels: dict[str, int]) -> None:
        """Note labels that are in train alone."""
        if labels:
            first = [f"{label!r} ({count:,} in train)" for label, count in islice(labels.items(), 5)]
            more = f" and {len(labels) - 5:,} more" if len(labels) > 5 else ""
            self._after.append(
                f"labels too rare for eval: {', '.join(first)}{more}; they are learned and never scored: "
                "give more rows of them, or name data.eval"
            )

    def divided(self, examples: Examples, halves: Halves[int], names: tuple[str, str]) -> None:
        """Note how eval was divided into dev and the rest, or that into select and confirm."""
        one, other = names
        groups = len(set(examples.groups.take(np.array((*halves.drawn, *halves.rest)))))
        if not halves.by_group:
            self._after.append(
                f"{one} and {other} share groups: {groups:,} are too few or too large to be kept apart"
            )
        self._held_back += len(halves.held_back)
        if halves.held_back:
            self._after.append(
                f"{len(halves.held_back):,} eval examples are in neither {one} nor {other}: of their group "
                f"{examples.groups[halves.held_back[0]]} {one} has a part"
            )

    def sizes(
        self,
        examples: Examples,
        parts: Mapping[Part, Indices],
        data: PreparedData,
        spec: DataSpec,
        *,
        metric: str,
    ) -> None:
        """Note the sizes of the splits, and what select can tell apart.

        Args:
            examples: all examples.
            parts: indices of the examples of each split before the last draws.
            data: the splits.
            spec: settings of the data.
            metric: the study's metric.
        """
        sizes = data.named_splits.items()
        self._after.append("examples: " + ", ".join(f"{len(split):,} {name}" for name, split in sizes))
        rest = len(parts[Part.EVAL]) - len(data.dev) - len(data.confirm) - self._held_back
        self._capped("data.train_examples", len(parts[Part.TRAIN]), len(data.train))
        self._capped("evaluation.select_examples", rest, len(data.select))
        self._capped("evaluation.test_examples", len(parts[Part.TEST]), len(data.test))
        if metric in _RIGHT_OR_WRONG:
            self._after.append(_precision(len(data.select)))
        groups = {} if spec.group_column is None else {p: _groups(examples, parts[p]) for p in Part}
        shared = groups and groups[Part.TRAIN] & (groups[Part.EVAL] | groups[Part.TEST])
        if shared:
            self._after.append(f"{len(shared):,} groups of train stand in eval or test too")
        if data.labels:
            self._labels(data)

    def confirm(self, data: PreparedData, asked: int | None) -> None:
        """Note the size of confirm, where the study file does not say that there is none.

        Args:
            data: the splits.
            asked: `evaluation.confirm_examples`.
        """
        count = len(data.confirm)
        if not count:
            self._after.append(
                "confirm has 0 examples: dev and select leave none, and select alone chooses the adapter to "
                "publish; give more examples for eval, or set evaluation.confirm_examples"
            )
            return
        fewer = f" (evaluation.confirm_examples is {asked:,})" if asked and asked > count else ""
        self._after.append(
            f"confirm has {count:,} examples{fewer}: the best trials are scored on them at the end, and "
            "select and confirm together choose the adapter to publish"
        )

    def _labels(self, data: PreparedData) -> None:
        """Note the labels with their examples, those that look alike, and those that train does not have."""
        self._after.append(_labels(data))
        for names in islice(look_alike(data.labels), 5):
            self._after.append(
                f"labels {', '.join(map(repr, names))} differ only in case, width or the way a number is "
                "written: each is a label of its own; write them alike if they are one"
            )
        unlearned = sorted(set(data.labels) - set(data.train.references))
        if unlearned:
            more = f" and {len(unlearned) - 5:,} more" if len(unlearned) > 5 else ""
            self._after.append(
                f"labels that no example of train has: {', '.join(map(repr, unlearned[:5]))}{more}; "
                "raise data.train_examples"
            )

    def _capped(self, key: str, found: int, kept: int) -> None:
        if found > kept:
            self._after.append(f"{found - kept:,} more examples left out: {key} is {kept:,}")

    def lengths(self, data: PreparedData, max_new_tokens: int) -> None:
        """Note the lengths of the examples, in tokens."""
        train = np.stack([data.train.lengths, data.train.answer_lengths], axis=1)
        for name, column in (("prompt and answer", 0), ("answer", 1)):
            middle, most, nearly, longest = np.percentile(train[:, column], [50, 90, 99, 100]).astype(int)
            self._after.append(
                f"tokens of {name}: half up to {middle}, 90% {most}, 99% {nearly}, longest {longest}"
            )
        scored = np.concatenate([split.answer_lengths for split in data.splits.values()])
        cut = int((scored > max_new_tokens).sum())
        if cut:
            self._after.append(
                f"{cut:,} of {len(scored):,} eval and test answers are longer than evaluation.max_new_tokens "
                f"({max_new_tokens}): what is decoded is cut there"
            )

    def lines(self, ledger: Ledger) -> tuple[str, ...]:
        """Return the lines in reading order; splits that lost over a fifth come first."""
        first, lines = [], []
        for part, read in self._read.items():
            counts = ledger.counts(part)
            removed = ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "nothing"
            unused = [self._unused[part]] if part in self._unused else []
            lines += [read, *unused, f"{part}: removed {removed}", *_first_unreadable(ledger, part)]
            gone, rows = sum(counts.values()), self._rows[part]
            if gone > _MUCH * rows:
                first.append(
                    f"{part}: {gone:,} of {rows:,} rows were removed ({gone / rows:.0%}): {removed}; "
                    f"data/{REMOVED} in the study folder has each with its reason"
                )
        return (*first, *lines, self.prompts, *self._after)


def _first_unreadable(ledger: Ledger, part: Part) -> list[str]:
    """Return where the first row lies that could not be read, as a line; nothing if all could."""
    found = ledger.first(part, Reason.UNREADABLE)
    if found is None:
        return []
    return [f"{part}: the first unreadable row is {found['file']}, row {found['row']}: {found['detail']}"]


def _groups(examples: Examples, indices: Indices) -> set[str]:
    """Return the groups of those examples that have one."""
    # The group of an example without one is its content's id, which equal examples share.
    named = zip(examples.groups.take(indices), examples.example_ids.take(indices), strict=True)
    return {group for group, example_id in named if group != example_id.partition("-")[0]}


def _labels(data: PreparedData) -> str:
    counts = Counter(data.train.references).most_common()
    if len(counts) > _NAMED_LABELS:
        return f"labels: {len(data.labels):,} ({counts[-1][1]:,} to {counts[0][1]:,} rows of train each)"
    named = ", ".join(f"{label} {count:,}" for label, count in counts)
    return f"labels: {len(data.labels)} ({named} in train)"


def _precision(select: int) -> str:
    half, fifth = half_width(select, 0.5), half_width(select, 0.2)
    return (
        f"select has {select:,} examples: a difference between two trials in the share of right answers is "
        f"known to within {half:.2g} (95%) if they disagree on half of the answers, {fifth:.2g} on a fifth"
    )
