"""Lines of data preparation for the terminal: rows read, rows removed and why, examples left."""

from collections.abc import Sequence

import numpy as np

from loratory.objectives.data.drawing import Halves
from loratory.objectives.data.prepared import Example, PreparedData
from loratory.objectives.data.rows import Ledger, Part, RawRow
from loratory.spaces.data import DataFormat, DataSpec


class Summary:
    """Collects lines while data is prepared.

    Attributes:
        prompts: the line that says how prompts are made.
    """

    def __init__(self, prompts: str) -> None:
        self.prompts = prompts
        self._read: dict[Part, str] = {}
        self._unused: dict[Part, str] = {}
        self._after: list[str] = []
        self._held_back = 0

    def read(self, part: Part, raw: Sequence[RawRow], found: DataFormat) -> None:
        """Note that a source was read."""
        files = list(dict.fromkeys(row.file for row in raw))
        more = f" and {len(files) - 1:,} more files" if len(files) > 1 else ""
        self._read[part] = f"{part}: read {len(raw):,} rows of {files[0]}{more} ({found})"

    def columns(self, part: Part, unused: Sequence[str]) -> None:
        """Note the columns of a source that were not used."""
        if unused:
            self._unused[part] = f"{part}: columns not used: {', '.join(unused)}"

    def drew_eval(self, drawn: int, total: int, fraction: float) -> None:
        """Note that eval was drawn from train."""
        self._read[Part.EVAL] = (
            f"eval: {drawn:,} of the {total:,} rows of train, by fixed hash (data.eval_fraction {fraction:g})"
        )

    def split_eval(self, halves: Halves[Example]) -> None:
        """Note how eval was divided into dev and select."""
        groups = len({example.group for example in (*halves.drawn, *halves.rest)})
        if not halves.by_group:
            self._after.append(
                f"dev and select share groups: {groups:,} are too few or too large to be kept apart"
            )
        self._held_back = len(halves.held_back)
        if halves.held_back:
            self._after.append(
                f"{len(halves.held_back):,} eval examples are in neither dev nor select: of their group "
                f"{halves.held_back[0].group} dev has a part"
            )

    def sizes(self, examples: dict[Part, list[Example]], data: PreparedData, spec: DataSpec) -> None:
        """Note the sizes of the splits."""
        sizes = (("train", data.train), ("dev", data.dev), ("select", data.select), ("test", data.test))
        self._after.append("examples: " + ", ".join(f"{len(split):,} {name}" for name, split in sizes))
        rest = len(examples[Part.EVAL]) - len(data.dev) - self._held_back
        self._capped("data.train_examples", len(examples[Part.TRAIN]), len(data.train))
        self._capped("evaluation.select_examples", rest, len(data.select))
        self._capped("evaluation.test_examples", len(examples[Part.TEST]), len(data.test))
        shared = _groups(spec, examples, Part.TRAIN) & (
            _groups(spec, examples, Part.EVAL) | _groups(spec, examples, Part.TEST)
        )
        if shared:
            self._after.append(f"{len(shared):,} groups of train stand in eval or test too")
        if data.labels:
            self._after.append(f"labels: {len(data.labels)}")

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
        scored = np.concatenate([split.answer_lengths for split in (data.dev, data.select, data.test)])
        cut = int((scored > max_new_tokens).sum())
        if cut:
            self._after.append(
                f"{cut:,} of {len(scored):,} eval and test answers are longer than evaluation.max_new_tokens "
                f"({max_new_tokens}): what is decoded is cut there"
            )

    def lines(self, ledger: Ledger) -> tuple[str, ...]:
        """Return the lines in reading order."""
        lines = []
        for part, read in self._read.items():
            counts = ledger.counts(part)
            removed = ", ".join(f"{count:,} {reason}" for reason, count in counts.items()) or "nothing"
            unused = [self._unused[part]] if part in self._unused else []
            lines += [read, *unused, f"{part}: removed {removed}"]
        return (*lines, self.prompts, *self._after)


def _groups(spec: DataSpec, examples: dict[Part, list[Example]], part: Part) -> set[str]:
    if spec.group_column is None:
        return set()
    # The group of an example without one is its content's id, which equal examples share.
    return {e.group for e in examples[part] if e.group != e.example_id.partition("-")[0]}
