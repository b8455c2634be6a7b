"""The cells at which the memory model is compared with measurement: corners of what a study may ask for."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

HALVES = ("fitted", "held-out")


@dataclass(frozen=True, kw_only=True)
class MemoryCell:
    """One arrangement of a worker on one base.

    Attributes:
        shape: name of the base's sizes, see `packing_cells.shapes`.
        length: tokens of every example; a quarter of them is its prompt.
        rank: of every adapter, on all linear layers.
        slots: K, the trials that train at once.
        tokens_per_pass: T, tokens of the largest pass.
        decoding_rows: prompts decoded at once.
        checkpointing: whether activations are recomputed in the backward pass.
        hold_base: whether the dequantised base is kept.
        optimizer_bits: 32 or 8, of each moment.
        max_new_tokens: longest answer.
    """

    shape: str
    length: int
    rank: int
    slots: int
    tokens_per_pass: int
    decoding_rows: int
    checkpointing: bool = False
    hold_base: bool = False
    optimizer_bits: int = 32
    max_new_tokens: int = 16

    @property
    def name(self) -> str:
        """Name in tables and in the results file."""
        parts = [self.shape, f"L{self.length}", f"r{self.rank}", f"K{self.slots}", f"T{self.tokens_per_pass}"]
        parts += [f"rows{self.decoding_rows}"]
        parts += [word for word, on in (("gc", self.checkpointing), ("held", self.hold_base)) if on]
        parts += ["8bit"] if self.optimizer_bits == 8 else []
        return "-".join(parts)

    @property
    def prompt_tokens(self) -> int:
        """Tokens of every prompt."""
        return self.length // 4

    @property
    def batch_size(self) -> int:
        """Examples per optimiser batch: the smallest with which all slots together fill a pass."""
        return max(1, -(-self.tokens_per_pass // (self.slots * self.length)))

    def as_data(self) -> dict[str, Any]:
        """Return the cell as plain data."""
        return asdict(self)


def _cells(shape: str, rows: Sequence[tuple[int, int, int, int, int, str]]) -> list[MemoryCell]:
    """Return the cells of a base: length, rank, slots, tokens per pass, decoding rows, and means."""
    return [
        MemoryCell(
            shape=shape,
            length=length,
            rank=rank,
            slots=slots,
            tokens_per_pass=tokens,
            decoding_rows=decoding,
            checkpointing="gc" in means.split(),
            hold_base="held" in means.split(),
            optimizer_bits=8 if "8bit" in means.split() else 32,
        )
        for length, rank, slots, tokens, decoding, means in rows
    ]


# Each takes less than 70 GiB.
CELLS = [
    *_cells(
        "1b",
        [
            (256, 4, 1, 1024, 16, ""),
            (256, 8, 16, 16_384, 512, "held"),
            (512, 16, 8, 8192, 256, "held 8bit"),
            (1024, 16, 4, 4096, 64, "gc"),
            (1024, 64, 16, 8192, 128, "held"),
            (1024, 128, 1, 2048, 16, "8bit"),
            (2048, 8, 2, 4096, 32, "gc held 8bit"),
            (2048, 32, 8, 16_384, 64, "gc"),
            (2048, 128, 4, 8192, 64, "held 8bit"),
            (4096, 4, 1, 4096, 16, "8bit"),
            (4096, 16, 4, 16_384, 32, "held"),
            (4096, 64, 2, 8192, 16, "gc 8bit"),
        ],
    ),
    *_cells(
        "7b",
        [
            (256, 4, 1, 1024, 16, ""),
            (256, 8, 16, 6144, 64, "held"),
            (512, 16, 8, 4096, 32, "held 8bit"),
            (512, 32, 2, 16_384, 32, "gc"),
            (1024, 16, 4, 4096, 16, ""),
            (1024, 16, 2, 1024, 16, "8bit"),
            (1024, 64, 4, 8192, 32, "gc held"),
            (1024, 8, 1, 1024, 16, "gc 8bit"),
            (2048, 128, 2, 2048, 16, ""),
            (2048, 16, 8, 16_384, 16, "gc held 8bit"),
            (4096, 4, 1, 4096, 16, "held"),
            (4096, 128, 1, 4096, 16, "gc 8bit"),
        ],
    ),
    *_cells(
        "8b",
        [
            (256, 4, 2, 1024, 16, "8bit"),
            (256, 16, 16, 4096, 128, "held"),
            (512, 8, 4, 8192, 64, ""),
            (512, 64, 2, 4096, 64, "gc held 8bit"),
            (1024, 16, 4, 4096, 64, "held"),
            (1024, 16, 1, 1024, 16, "gc 8bit"),
            (1024, 32, 8, 8192, 128, "gc"),
            (1024, 128, 2, 2048, 32, "held 8bit"),
            (2048, 8, 8, 8192, 64, "gc held"),
            (2048, 64, 1, 2048, 32, ""),
            (4096, 16, 2, 8192, 64, "gc 8bit"),
            (4096, 4, 1, 4096, 16, ""),
        ],
    ),
    *_cells(
        "13b",
        [
            (256, 4, 1, 512, 16, ""),
            (256, 8, 8, 4096, 32, ""),
            (512, 16, 4, 2048, 16, "held 8bit"),
            (512, 16, 16, 4096, 32, "gc 8bit"),
            (1024, 16, 2, 2048, 16, ""),
            (1024, 8, 1, 1024, 16, "gc 8bit"),
            (1024, 64, 2, 8192, 16, "gc held"),
            (1024, 32, 4, 4096, 32, "gc"),
            (2048, 128, 1, 2048, 16, "8bit"),
            (2048, 16, 2, 8192, 16, "gc held 8bit"),
            (4096, 4, 1, 4096, 16, ""),
            (4096, 32, 2, 8192, 16, "gc"),
        ],
    ),
]

# For a CPU, where only the path is tried.
TINY_CELLS = _cells(
    "tiny",
    [
        (64, 4, 1, 128, 16, ""),
        (64, 8, 2, 256, 16, "held"),
        (32, 16, 4, 128, 16, "gc"),
        (32, 8, 2, 128, 16, "8bit"),
    ],
)


def held_out(cells: Sequence[MemoryCell], *, seed: int) -> set[str]:
    """Return the names of the half of the cells that is not looked at while the model is fitted."""
    names = sorted(cell.name for cell in cells)
    return set(random.Random(seed).sample(names, len(names) // 2))
