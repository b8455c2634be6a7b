"""The goals on one H200, and what the readings make of them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from packing_cells.cells import CEILING, GENERATE, OURS, PACKED_DECODING, PROCESSES, TRAINER, UNCACHED, Cell
from packing_cells.comparison import Cells, Summary, best, pace, ratio, slots_of

_PACK, _MEMORY_OF_PROCESSES = f"{OURS}8", f"{PROCESSES}8"
_LARGE_PACK_TOKENS = 16_384
Variants = Mapping[str, Summary]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """One number that is aimed at.

    Attributes:
        name: what it is.
        value: computes it for a model shape; None where readings are missing.
        targets: by shape.
        at_most: whether less is better.
    """

    name: str
    value: Callable[[Cells, str], float | None]
    targets: Mapping[str, float]
    at_most: bool = False

    def met(self, shape: str, value: float) -> bool:
        """Whether a value is as good as the target."""
        target = self.targets[shape]
        return value <= target if self.at_most else value >= target


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A goal for one shape; `value` and `met` are None where readings are missing."""

    name: str
    shape: str
    target: float
    at_most: bool
    value: float | None
    met: bool | None


def outcomes(cells: Cells) -> list[Outcome]:
    """Every goal for every shape that has readings."""
    shapes = {cell.shape for cell in cells}
    found = []
    for goal in GOALS:
        for shape in goal.targets:
            if shape in shapes:
                value = goal.value(cells, shape)
                found.append(
                    Outcome(
                        name=goal.name,
                        shape=shape,
                        target=goal.targets[shape],
                        at_most=goal.at_most,
                        value=value,
                        met=None if value is None else goal.met(shape, value),
                    )
                )
    return found


def _variants(cells: Cells, shape: str, load: str) -> Variants:
    return cells.get(Cell(shape=shape, load=load), {})


def _best_pace(variants: Variants, prefix: str) -> float | None:
    fastest = best(variants, prefix)
    return fastest.tokens_per_second if fastest else None


def _against_trainer(cells: Cells, shape: str) -> float | None:
    variants = _variants(cells, shape, "512")
    return ratio(pace(variants, _PACK), pace(variants, TRAINER))


def _against_processes(cells: Cells, shape: str) -> float | None:
    variants = _variants(cells, shape, "512")
    return ratio(pace(variants, _PACK), _best_pace(variants, PROCESSES))


def _memory(cells: Cells, shape: str) -> float | None:
    variants = _variants(cells, shape, "512")
    ours, theirs = variants.get(_PACK + UNCACHED), variants.get(_MEMORY_OF_PROCESSES)
    if ours is None or theirs is None or not (ours.fits and theirs.fits):
        return None
    return ratio(ours.device_memory_bytes, theirs.device_memory_bytes)


def _large_batches(cells: Cells, shape: str) -> float | None:
    variants = _variants(cells, shape, "8192")
    return ratio(_best_pace(variants, OURS), pace(variants, TRAINER))


def _share_of_ceiling(cells: Cells, shape: str) -> float | None:
    """Of the largest share among packs of many tokens."""
    shares = [
        ratio(pace(variants, name), pace(variants, CEILING))
        for cell, variants in cells.items()
        if cell.shape == shape and cell.load.isdigit()
        for name in variants
        if slots_of(name) * int(cell.load) >= _LARGE_PACK_TOKENS
    ]
    return max((share for share in shares if share is not None), default=None)


def _decoding(cells: Cells, shape: str) -> float | None:
    variants = _variants(cells, shape, "decode")
    return ratio(pace(variants, PACKED_DECODING), pace(variants, GENERATE))


def _uneven_lengths(cells: Cells, shape: str) -> float | None:
    """Against the fixed length whose step has as many tokens (1,024 beside 1,091 on average)."""
    uneven, even = _variants(cells, shape, "lognormal"), _variants(cells, shape, "1024")
    return ratio(pace(uneven, _PACK), pace(even, _PACK))


def _refilling(cells: Cells, shape: str) -> float | None:
    summary = _variants(cells, shape, "512").get(_PACK)
    return summary.details.get("refill_pack_steps") if summary is not None else None


def _one_slot(cells: Cells, shape: str) -> float | None:
    variants = _variants(cells, shape, "512")
    return ratio(pace(variants, f"{OURS}1"), pace(variants, TRAINER))


def _both(value: float) -> dict[str, float]:
    return {"1b": value, "7b": value}


GOALS = (
    Goal(name="ours-8 / trainer, 512 tokens", value=_against_trainer, targets={"1b": 20, "7b": 10}),
    Goal(name="ours-8 / best of processes, 512", value=_against_processes, targets={"1b": 3, "7b": 2.5}),
    Goal(
        name="memory of ours-8-uncached / processes-8, 512",
        value=_memory,
        targets=_both(0.45),
        at_most=True,
    ),
    Goal(name="best of ours / trainer, 8192", value=_large_batches, targets=_both(1.2)),
    Goal(
        name="share of the ceiling, packs of >= 16k tokens",
        value=_share_of_ceiling,
        targets={"1b": 0.55, "7b": 0.65},
    ),
    Goal(name="packed decoding / generate in turn", value=_decoding, targets={"1b": 6, "7b": 4}),
    Goal(name="ours-8, log-normal / fixed lengths", value=_uneven_lengths, targets=_both(0.7)),
    Goal(name="pack steps to refill a slot", value=_refilling, targets=_both(1), at_most=True),
    Goal(name="ours-1 / trainer", value=_one_slot, targets={"tiny": 1}),
)
