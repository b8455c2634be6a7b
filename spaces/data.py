"""Sources of the examples, and rules for reading, cleaning, splitting and scoring them."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.metric_names import Task

QUICKSTART_DATA = "builtin:quickstart"


class DataFormat(StrEnum):
    """Layout of prompt and answer in a row."""

    AUTO = "auto"
    ALPACA = "alpaca"
    MESSAGES = "messages"
    SHAREGPT = "sharegpt"
    COMPLETION = "completion"


class BadRows(StrEnum):
    """Treatment of rows that cannot be read."""

    STOP = "stop"
    REMOVE = "remove"


class CleaningSpec(Frozen):
    """Rows to remove before training; the study folder keeps every removed row with its reason."""

    exact_duplicates: bool = True
    """Remove rows that repeat an earlier row of their split (after Unicode and space folding)."""
    near_duplicate_threshold: Annotated[Float, Field(gt=0, le=1)] | None = 0.9
    """Remove training rows with at least this MinHash Jaccard similarity (word 5-grams) to an earlier row."""
    near_duplicate_parts: bool = True
    """Keep rows whose questions or answers differ, however much they share; false compares wholes alone."""
    leaked: bool = True
    """Remove training rows that are also in eval or test."""


class DataSpec(Frozen):
    """Sources of the three splits, and rules for reading them."""

    train: str = Field(min_length=1)
    """File (JSONL, JSON, CSV, TSV, Parquet, Arrow), glob, saved folder, Hub id, or `builtin:quickstart`."""
    eval: str | None = None
    """Source of eval examples; null takes `eval_fraction` of train (whole groups, if rows have groups)."""
    test: str | None = None
    """Source of test examples, scored once for the winner and the base; null: no test score."""
    eval_fraction: Annotated[Float, Field(gt=0, lt=1)] | None = None
    """Share of train that becomes eval when `eval` is null.

    Null takes a tenth, and of few rows up to a quarter.
    """
    hub_config: str | None = None
    """Configuration name of a Hub data set."""
    hub_revision: str | None = None
    """Commit of a Hub data set; pin it."""
    format: DataFormat = DataFormat.AUTO
    """Row format; auto detects it from the columns."""
    columns: dict[str, str | None] = {}
    """Expected name to the column that holds it, or its path (`answers.text[0]`); null: do not use it."""
    bad_rows: BadRows = BadRows.STOP
    """stop, or remove: rows that cannot be read stop the study, or are removed, kept and counted."""
    group_column: str | None = "group"
    """Column with the group of a row (such as a document or module); used if present."""
    prompt_template: str | None = None
    """Python format string over the columns; replaces the chat template and the default prompt."""
    task: Task = Task.GENERATION
    """generation, or classification if every answer is one of few labels."""
    max_length: Annotated[Int, Field(ge=8, le=1_048_576)] | None = None
    """Longest prompt plus answer in tokens; longer rows are removed, never cut.

    Null takes the model's longest input or 1,024, whichever is less.
    """
    train_examples: Annotated[Int, Field(ge=1)] | None = None
    """Largest number of training examples, drawn by a fixed hash; null takes all."""
    stratify: bool = True
    """Draw the labels of a classification in proportion, and never the last row of one out of train."""
    cleaning: CleaningSpec = CleaningSpec()
    """Rows to remove before training."""


class EvaluationSpec(Frozen):
    """Times, examples and metrics of evaluations."""

    evaluations: Int = Field(default=4, ge=1, le=1000)
    """Evaluations per trial, at equal fractions of its schedule: the nominal grid."""
    dev_examples: Annotated[Int, Field(ge=1)] | None = None
    """Eval examples that drive pruning, early stopping and the choice of checkpoint.

    Null takes 64, and of few eval examples half.
    """
    select_examples: Annotated[Int, Field(ge=1)] | None = None
    """Other eval examples that rank finished trials; null takes all the rest."""
    test_examples: Annotated[Int, Field(ge=1)] | None = None
    """Test examples for the final score; null takes all."""
    max_new_tokens: Int = Field(default=64, ge=1, le=65_536)
    """Longest answer decoded, in tokens."""
    batch_size: Int = Field(default=32, ge=1, le=4096)
    """Prompts decoded together."""
    metrics: tuple[str, ...] | None = None
    """Names of metrics to compute; null takes the defaults of the task."""
    language: str | None = None
    """Language of the answers (`zh`, `ja`, `en`, ...) for tokenisation; null detects the script."""
