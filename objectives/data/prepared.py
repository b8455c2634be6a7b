"""Examples ready to train on: token ids with the prompt masked, split, in a fixed order."""

from dataclasses import dataclass

from loratory.objectives.events import Split


@dataclass(frozen=True, kw_only=True)
class Example:
    """One prompt and its answer.

    Attributes:
        example_id: unique in the study; made from the content, so it survives reordering.
        group: name shared by the rows of one document or module.
        prompt: the text that the model reads, template applied.
        reference: the answer, without end-of-sequence.
        prompt_ids: token ids of the prompt, special tokens included.
        answer_ids: token ids of the answer, end-of-sequence last; the loss is on these alone.
    """

    example_id: str
    group: str
    prompt: str
    reference: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of tokens of prompt and answer."""
        return len(self.prompt_ids) + len(self.answer_ids)


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """The splits of a study.

    Attributes:
        train: the examples that trials train on.
        dev: eval examples that drive pruning, early stopping and the choice of checkpoint.
        select: the other eval examples, which rank finished trials.
        test: scored once at the end; may be empty.
        labels: for classification, every label in a fixed order; else empty.
        sha256: SHA-256 of all fields above.
    """

    train: tuple[Example, ...]
    dev: tuple[Example, ...]
    select: tuple[Example, ...]
    test: tuple[Example, ...]
    labels: tuple[str, ...]
    sha256: str

    def split(self, split: Split) -> tuple[Example, ...]:
        """Return the examples of a split that is scored."""
        return self.splits[split]

    @property
    def splits(self) -> dict[Split, tuple[Example, ...]]:
        """The examples of every split that scores are computed on; no study draws confirm yet."""
        return {Split.DEV: self.dev, Split.SELECT: self.select, Split.CONFIRM: (), Split.TEST: self.test}
