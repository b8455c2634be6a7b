"""Examples ready to train on: token ids with the prompt masked, split, in a fixed order."""

from dataclasses import dataclass, field

from loratory.objectives.data.examples import Example, Examples
from loratory.objectives.events import Split

__all__ = ["Example", "Examples", "PreparedData"]


@dataclass(frozen=True, kw_only=True)
class PreparedData:
    """The splits of a study.

    Attributes:
        train: the examples that trials train on.
        dev: eval examples that drive pruning, early stopping and the choice of checkpoint.
        select: other eval examples, which rank finished trials.
        confirm: eval examples that are decoded at the end alone, for the best trials; may be empty.
        test: scored once at the end; may be empty.
        labels: for classification, every label in a fixed order; else empty.
        sha256: SHA-256 of all fields above.
        kept_ids: special tokens that answers hold; the text of a decoded answer keeps them.
    """

    train: Examples
    dev: Examples
    select: Examples
    test: Examples
    labels: tuple[str, ...]
    sha256: str
    kept_ids: tuple[int, ...] = ()
    confirm: Examples = field(default_factory=lambda: Examples.of(()))

    def split(self, split: Split) -> Examples:
        """Return the examples of a split that is scored."""
        return self.splits[split]

    @property
    def splits(self) -> dict[Split, Examples]:
        """The examples of every split that scores are computed on."""
        return {
            Split.DEV: self.dev,
            Split.SELECT: self.select,
            Split.CONFIRM: self.confirm,
            Split.TEST: self.test,
        }

    @property
    def named_splits(self) -> dict[str, Examples]:
        """The examples of every split by its name, train first; without confirm where it is empty.

        So hash and listing of data without confirm are those that were recorded before there was one.
        """
        confirm = {"confirm": self.confirm} if self.confirm else {}
        return {"train": self.train, "dev": self.dev, "select": self.select, **confirm, "test": self.test}
