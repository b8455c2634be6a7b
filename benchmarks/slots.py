"""The slots that workers choose, the speed that these keep, and how many trials are drawn before any score.

    python benchmarks/slots.py [--gpu H100] [--length 256]

Predicted, without a GPU: three shapes, studies of 20, 32 and 128 trials with TPE, batches of 4 to 16, one
epoch over 1,000 rows of `--length` tokens each, on one, two and eight GPUs.
"""

import argparse
import sys
import tempfile
from itertools import product
from pathlib import Path

import torch
from packing_cells.shapes import SHAPES
from packing_cells.study_files import tokenizer

from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.memory.admission import asked_of, usable_bytes
from loratory.objectives.qlora.memory.bases import find_configuration
from loratory.objectives.qlora.memory.choose import TooSmall, choose
from loratory.objectives.qlora.memory.devices import gpu_named
from loratory.objectives.qlora.memory.durations import rates_of
from loratory.objectives.qlora.memory.engine_size import EngineSize, stack_size
from loratory.objectives.qlora.memory.facts import model_facts, workload_without_data
from loratory.objectives.qlora.memory.pace import study_seconds
from loratory.spaces.packing import trials_taken
from loratory.spaces.study import StudySpec

_ROWS, _DEV_ROWS, _SELECT_ROWS, _ALL_SLOTS = 1000, 50, 150, (1, 2, 4, 8, 16)


class Chooser:
    """Chooses arrangements for studies on one base."""

    def __init__(self, base: Path, *, gpu: str, length: int) -> None:
        """Count the base's activations, which takes seconds.

        Args:
            base: folder with configuration and tokenizer.
            gpu: name of a GPU.
            length: tokens of every example.
        """
        self._base, self._gpu, self._length = base, gpu_named(gpu), length
        study = self._study(1, 1, None)
        assert study.model is not None
        found = find_configuration(study.model)
        self._stack = stack_size(study, read_architecture(found.reference))
        self._facts = model_facts(
            study.model,
            found.reference,
            found.configuration,
            self._stack,
            dtype=torch.bfloat16,
            longest=length,
        )

    def choose(self, trials: int, gpus: int, slots: int | None) -> tuple[EngineSize, float]:
        """Return the arrangement of a worker, and the seconds of a study on one GPU.

        Args:
            trials: of the study.
            gpus: with a worker on each.
            slots: that the study file fixes; None leaves them open.
        """
        study, rates = self._study(trials, gpus, slots), rates_of(self._gpu)
        load = workload_without_data(
            study,
            self._stack,
            dtype=torch.bfloat16,
            max_length=self._length,
            train_examples=_ROWS,
            dev_examples=_DEV_ROWS,
            select_examples=_SELECT_ROWS,
        )
        size = choose(
            self._facts,
            load,
            asked_of(study),
            budget_bytes=usable_bytes(self._gpu.memory_bytes),
            pace=lambda size: study_seconds(self._facts, load, size, rates),
        )
        if isinstance(size, TooSmall):
            raise SystemExit(f"{self._base.name}: must fit {self._gpu.name}, does not")
        return size, study_seconds(self._facts, load, size, rates)

    def _study(self, trials: int, gpus: int, slots: int | None) -> StudySpec:
        return StudySpec.model_validate(
            {
                "name": "slots",
                "trials": trials,
                "model": {"base": str(self._base)},
                "data": {"train": "rows.jsonl", "max_length": self._length},
                "space": {"batch_size": [4, 8, 16], "rank": [8, 16]},
                "training": {"epochs": 1},
                "evaluation": {"max_new_tokens": min(128, self._length // 2), "dev_examples": 50},
                "packing": {"slots": slots},
                "resources": {"workers": gpus},
            }
        )


def main() -> int:
    """Print the table."""
    arguments = _parser().parse_args()
    print("| base | trials | GPUs | slots | speed kept | drawn before a score |\n|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        for shape in ("1b", "7b", "8b"):
            base = Path(folder) / shape
            SHAPES[shape].configuration().save_pretrained(base)
            tokenizer(SHAPES[shape].vocabulary).save_pretrained(base)
            chooser = Chooser(base, gpu=arguments.gpu, length=arguments.length)
            for trials, gpus in product((20, 32, 128), (1, 2, 8)):
                size, seconds = chooser.choose(trials, gpus, None)
                fastest = min(seconds, *(chooser.choose(trials, gpus, slots)[1] for slots in _ALL_SLOTS))
                drawn = min(trials, gpus * trials_taken(size.slots))
                print(f"| {shape} | {trials} | {gpus} | {size.slots} | {fastest / seconds:.0%} | {drawn} |")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--gpu", default="H100", help="a GPU of the table")
    parser.add_argument("--length", type=int, default=256, help="tokens of every example")
    return parser


if __name__ == "__main__":
    sys.exit(main())
