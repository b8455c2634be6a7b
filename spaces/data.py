"""Sources of the examples, and rules for reading, cleaning, splitting and scoring them."""

import re
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from loratory.spaces.frozen import Float, Frozen, Int
from loratory.spaces.languages import LANGUAGES, meant_language
from loratory.spaces.metric_names import Task
from loratory.spaces.rules import broken_rule, shown

QUICKSTART_DATA = "builtin:quickstart"


class DataFormat(StrEnum):
    """Layout of prompt and answer in a row."""

    AUTO = "auto"
    ALPACA = "alpaca"
    MESSAGES = "messages"
    SHAREGPT = "sharegpt"
    COMPLETION = "completion"


class Learn(StrEnum):
    """Assistant turns of a conversation that are learned."""

    LAST = "last"
    ALL = "all"


class Thoughts(StrEnum):
    """Treatment of answers with a thought (`<think>...</think>`) that the chat template cuts out."""

    TEMPLATE = "template"
    KEEP = "keep"
    CUT = "cut"


class BadRows(StrEnum):
    """Treatment of rows that cannot be read."""

    STOP = "stop"
    REMOVE = "remove"


class NearDuplicates(StrEnum):
    """Comparison by which a row is a near copy of another."""

    PARTS = "parts"
    WHOLE = "whole"


class CleaningSpec(Frozen):
    """Rows to remove before training; the study folder keeps every removed row with its reason."""

    exact_duplicates: bool = True
    """Remove rows that repeat an earlier row of their split (after Unicode and space folding)."""
    near_duplicate_threshold: Annotated[Float, Field(gt=0, le=1)] | None = 0.9
    """Remove training rows with at least this MinHash Jaccard similarity (word 5-grams) to an earlier row."""
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
    learn: Learn = Learn.LAST
    """Assistant turns that are learned: the last of a row, or all (the last alone is decoded and scored)."""
    thoughts: Thoughts = Thoughts.TEMPLATE
    """Thoughts in answers. template removes rows whose thought the chat template cuts; keep learns answers as
    the file has them; cut learns answers without their thoughts."""
    adapt_turns: bool = True
    """Adapt turns that the chat template refuses: join the system text to the first user turn, drop a leading
    assistant turn, join turns of one role. false removes such rows."""
    task: Task = Task.GENERATION
    """generation, or classification if every answer is one of few labels."""
    max_length: Annotated[Int, Field(ge=8, le=1_048_576)] | None = None
    """Longest prompt plus answer in tokens; longer rows are removed, never cut.

    Null takes the model's longest input or 1,024, whichever is less.
    """
    train_examples: Annotated[Int, Field(ge=1)] | None = None
    """Largest number of training examples, drawn by a fixed hash; null takes all."""
    near_duplicates: NearDuplicates = NearDuplicates.PARTS
    """Near copies and leaks are similar as a `whole`; with `parts`, question and answer are similar too."""
    stratify: bool = True
    """Draw the labels of a classification in proportion, and never the last row of one out of train."""
    cleaning: CleaningSpec = CleaningSpec()
    """Rows to remove before training."""


class BleuTokenizer(StrEnum):
    """Tokenizer of BLEU, by sacrebleu's name; auto chooses by language or script."""

    AUTO = "auto"
    MTEVAL_13A = "13a"
    INTL = "intl"
    CHAR = "char"
    ZH = "zh"
    JA_MECAB = "ja-mecab"
    KO_MECAB = "ko-mecab"
    FLORES101 = "flores101"
    FLORES200 = "flores200"
    SPM = "spm"
    NONE = "none"

    @property
    def reads_file(self) -> bool:
        """True if it is a SentencePiece model in a file."""
        return self in (BleuTokenizer.FLORES101, BleuTokenizer.FLORES200, BleuTokenizer.SPM)


class EvaluationSpec(Frozen):
    """Times, examples and metrics of evaluations."""

    evaluations: Int = Field(default=4, ge=1, le=1000)
    """Evaluations per trial, at equal fractions of its schedule: the nominal grid."""
    dev_examples: Annotated[Int, Field(ge=1)] | None = None
    """Eval examples that drive pruning, early stopping and the choice of checkpoint.

    Null takes 64, and of few eval examples half.
    """
    select_examples: Annotated[Int, Field(ge=1)] | None = None
    """Other eval examples that rank finished trials; null takes the rest, less what confirm gets."""
    confirm_examples: Annotated[Int, Field(ge=0)] | None = None
    """Eval examples that no search decodes: at the end the best five trials are scored on them, and select
    and confirm together choose the adapter to publish. 0: none.

    Null takes as many as select has, of what dev and select leave.
    """
    test_examples: Annotated[Int, Field(ge=1)] | None = None
    """Test examples for the final score; null takes all."""
    max_new_tokens: Int = Field(default=64, ge=1, le=65_536)
    """Longest answer decoded, in tokens."""
    batch_size: Int = Field(default=32, ge=1, le=4096)
    """Prompts decoded together."""
    metrics: tuple[str, ...] | None = None
    """Names of metrics to compute; null takes the defaults of the task."""
    score_thoughts: bool = True
    """Score answers with their thoughts; false scores only the text after the thought (`</think>`)."""
    language: str | None = None
    """Language of the answers, a code of ISO 639-1 (`zh`, `ja`, `en`, ...), for tokenisation; null detects
    the script."""
    bleu_tokenizer: BleuTokenizer = BleuTokenizer.AUTO
    """Tokenizer of BLEU, as published scores name it; auto takes zh for Chinese, char for Japanese and other
    scripts without spaces, else 13a."""
    bleu_tokenizer_file: str | None = None
    """SentencePiece model of bleu_tokenizer flores101, flores200 or spm, at this path on every machine."""
    rouge_stemmer: bool = False
    """Stem words (Porter) in rouge_score_1, rouge_score_2, rouge_score_L and rouge_score_Lsum."""
    extract: str | None = None
    """Regular expression (Python) that takes the answer out of predictions and references before they are
    scored: group 1, or the whole match, of the last match; null scores the whole text."""

    @field_validator("language")
    @classmethod
    def _is_a_code(cls, value: str | None) -> str | None:
        if value is None or value in LANGUAGES:
            return value
        meant = meant_language(value)
        hint = f": did you mean {meant}?" if meant else ""
        rule = "must be a code of ISO 639-1, such as en, zh or ja, or null"
        raise broken_rule(f"{rule}, got {shown(value)}{hint}")

    @field_validator("extract")
    @classmethod
    def _finds_something(cls, value: str | None) -> str | None:
        if value is None:
            return value
        try:
            pattern = re.compile(value)
        except re.error as error:
            rule = f"must be a regular expression of Python ({error})"
            raise broken_rule(f"{rule}, got {shown(value)}") from error
        if pattern.search("") is not None:
            raise broken_rule(f"must not match an empty text, got {shown(value)}")
        return value

    @model_validator(mode="after")
    def _has_the_file(self) -> Self:
        if self.bleu_tokenizer.reads_file and not self.bleu_tokenizer_file:
            rule = f"must name the SentencePiece model of bleu_tokenizer {self.bleu_tokenizer}"
            raise broken_rule(f"{rule}; it is never fetched", at=("bleu_tokenizer_file",))
        if self.bleu_tokenizer_file is not None and not self.bleu_tokenizer.reads_file:
            rule = "must be left out unless bleu_tokenizer is flores101, flores200 or spm"
            raise broken_rule(rule, at=("bleu_tokenizer_file",), value=self.bleu_tokenizer_file)
        return self
