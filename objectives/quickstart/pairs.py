"""The quickstart's data: functions of the standard library, each with the first sentence of its docstring.

Nothing is cleaned: copies, signatures instead of sentences, incomplete sentences and functions that are too
long for the model stay in, as in real data. The rows depend on the version of the running interpreter; the
split of a module (`loratory.objectives.quickstart.stdlib.split_of`) does not.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from loratory.objectives.quickstart.functions import described_functions, read_source
from loratory.objectives.quickstart.stdlib import Split, split_of, stdlib_modules

# Every example contains it, so it is short.
INSTRUCTION = "Describe this function."

# On a CPU time grows with length, so most rows are short (at most 220 tokens of the quickstart's base).
# A third of the pairs is longer; one in ten of these is kept, so that cleaning has something to remove.
SHORT_CHARACTERS = 400
LONG_KEPT_ONE_IN = 10

EVAL_WITH_CONFIRM, EVAL_WITHOUT_CONFIRM = 450, 300
"""Rows of eval: enough for a confirm as large as select, or those of studies that have none."""


@dataclass(frozen=True)
class Pair:
    """One row of data; ``group`` is the dotted name of the function's module."""

    instruction: str
    input: str
    output: str
    group: str


@dataclass(frozen=True)
class PairFiles:
    """The three files of JSON lines, and the number of rows in each."""

    train: Path
    eval: Path
    test: Path
    counts: Mapping[Split, int]


def write_pairs(
    folder: Path,
    *,
    train_examples: int | None,
    eval_examples: int | None = EVAL_WITHOUT_CONFIRM,
    test_examples: int | None = 200,
) -> PairFiles:
    """Write train.jsonl, eval.jsonl and test.jsonl; the same interpreter writes the same bytes.

    Args:
        folder: folder to write to, created if missing; existing files of these names are replaced.
        train_examples: largest number of rows of train; None: all, also those that are too long.
        eval_examples: largest number of rows of eval; None: all.
        test_examples: largest number of rows of test; None: all.
    """
    folder.mkdir(parents=True, exist_ok=True)
    limits = {Split.TRAIN: train_examples, Split.EVAL: eval_examples, Split.TEST: test_examples}
    pairs = list(gather_pairs())
    counts = {}
    for split, limit in limits.items():
        of_split = [pair for pair in pairs if split_of(pair.group) is split]
        chosen = choose_pairs(of_split, limit=limit)
        rows = [json.dumps(asdict(pair), ensure_ascii=False) + "\n" for pair in chosen]
        (folder / f"{split}.jsonl").write_text("".join(rows), encoding="utf-8")
        counts[split] = len(rows)
    train, eval_, test = (folder / f"{split}.jsonl" for split in limits)
    return PairFiles(train=train, eval=eval_, test=test, counts=counts)


def gather_pairs(library: Path | None = None) -> Iterator[Pair]:
    """Yield every pair of a standard library (default: the running interpreter's), by module and line."""
    for module in stdlib_modules(library):
        for function in described_functions(read_source(module.path) or ""):
            yield Pair(
                instruction=INSTRUCTION, input=function.source, output=function.sentence, group=module.name
            )


def choose_pairs(pairs: list[Pair], *, limit: int | None) -> list[Pair]:
    """Return the pairs in a fixed random order; with a limit, the first `limit` of them, mostly short ones.

    Order and choice come from a hash of a pair's content, not of its place. So copies stay together, and a
    choice of a few hundred rows contains some.
    """
    ordered = sorted(pairs, key=lambda pair: (_point(pair), pair.group))
    if limit is None:
        return ordered
    return [pair for pair in ordered if _is_short(pair) or _point(pair) % LONG_KEPT_ONE_IN == 0][:limit]


def _is_short(pair: Pair) -> bool:
    return len(pair.input) + len(pair.output) <= SHORT_CHARACTERS


def _point(pair: Pair) -> int:
    content = f"{pair.input}\0{pair.output}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(content, digest_size=8).digest())
