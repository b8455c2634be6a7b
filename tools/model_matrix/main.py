"""Judge all architectures, print a table, and write docs/models.md.

    python -m model_matrix.main [NAME ...]

Ends with status 1 if an architecture is wrong or could not be made. docs/models.md is written only where all
are judged.
"""

import logging
import os
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from model_matrix.architectures import ARCHITECTURES
from model_matrix.page import page, summary
from model_matrix.verdict import Verdict

_PAGE = Path(__file__).parents[2] / "docs" / "models.md"
_PROCESSES = 2


def judge_all(names: Sequence[str]) -> Iterator[Verdict]:
    """Yield a verdict per architecture, in the order of the names."""
    from model_matrix.study import write_data

    with (
        tempfile.TemporaryDirectory() as folder,
        ProcessPoolExecutor(_PROCESSES, initializer=quieten) as pool,
    ):
        write_data(Path(folder))
        yield from pool.map(partial(_judge, folder=Path(folder)), names)


def quieten() -> None:
    """Let a process compute in one thread and print nothing of libraries."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    warnings.simplefilter("ignore")
    import torch

    from loratory.objectives.qlora.base.loading import quieten as quieten_libraries

    torch.set_num_threads(1)
    quieten_libraries()
    logging.disable(logging.WARNING)


def _judge(name: str, folder: Path) -> Verdict:
    from model_matrix.case import judge

    return judge(name, folder)


def main() -> int:
    """Judge the architectures that are named, or all."""
    names, verdicts, began = sys.argv[1:] or [*ARCHITECTURES], [], time.perf_counter()
    for verdict in judge_all(names):
        verdicts.append(verdict)
        print(summary(verdict), flush=True)
    counts = Counter(verdict.result for verdict in verdicts)
    print(", ".join(f"{count} {result}" for result, count in counts.most_common()), end="; ")
    print(f"{time.perf_counter() - began:.0f} s")
    faulty = counts["wrong"] + counts["not made"]
    if not sys.argv[1:] and not faulty:
        _PAGE.write_text(page(verdicts), encoding="utf-8")
    return 1 if faulty else 0


if __name__ == "__main__":
    sys.exit(main())
