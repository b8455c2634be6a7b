"""The cells of the benchmark: a shape under a load, and the variants that are compared there."""

from dataclasses import dataclass
from typing import Self

from packing_cells.decoding import DecodeLoad
from packing_cells.shapes import SHAPES, ModelShape
from packing_cells.workload import LOGNORMAL, Workload, fixed

DECODE = "decode"
CEILING, TRAINER, GENERATE, PACKED_DECODING = "ceiling", "trainer", "generate", "packed-decoding"
PROCESSES, OURS, UNCACHED, UNQUANTIZED = "processes-", "ours-", "-uncached", "-unquantized"
_TOKENS = ("256", "512", "1024", "2048", "4096", "8192")
_FORMAT_TOKENS = "512"  # where formats of the base are compared


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A model shape under a load; its variants are measured in turn.

    Attributes:
        shape: name of the model shape.
        load: tokens per trial and step, `lognormal` or `decode`.
    """

    shape: str
    load: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `SHAPE:LOAD`.

        Raises:
            ValueError: no such shape or load.
        """
        shape, _, load = text.partition(":")
        if shape not in SHAPES:
            raise ValueError(f"a cell must begin with one of {', '.join(SHAPES)}, got {text!r}")
        if load not in (DECODE, LOGNORMAL.name):
            if not load.isdigit():
                raise ValueError(
                    f"a cell must end with tokens per step, {LOGNORMAL.name} or {DECODE}, got {text!r}"
                )
            fixed(int(load))
        return cls(shape=shape, load=load)

    def __str__(self) -> str:
        """Return `SHAPE:LOAD`, as on the command line and in the results file."""
        return f"{self.shape}:{self.load}"

    @property
    def place(self) -> tuple[int, int]:
        """Sort key among the cells of a shape: by tokens, then the other loads."""
        return (0, int(self.load)) if self.load.isdigit() else (1, (LOGNORMAL.name, DECODE).index(self.load))

    @property
    def model_shape(self) -> ModelShape:
        """The shape of that name."""
        return SHAPES[self.shape]

    @property
    def workload(self) -> Workload | None:
        """Training data of the trials; None where the cell decodes."""
        if self.load == DECODE:
            return None
        return LOGNORMAL if self.load == LOGNORMAL.name else fixed(int(self.load))

    @property
    def decode_load(self) -> DecodeLoad:
        """Amount of decoding; far less for the tiny model, which runs on a CPU."""
        if self.shape == "tiny":
            return DecodeLoad(prompts=8, prompt_tokens=64, new_tokens=16)
        return DecodeLoad()

    def variants(self, *, on_gpu: bool) -> tuple[str, ...]:
        """Return the variants that are compared by default, in the order in which they take turns."""
        if self.load == DECODE:
            return (GENERATE, PACKED_DECODING)
        if not on_gpu:
            return (CEILING, TRAINER, f"{PROCESSES}2", f"{OURS}1", f"{OURS}4")
        processes = tuple(f"{PROCESSES}{count}" for count in (2, 4, 8, 16))
        ours = tuple(f"{OURS}{slots}" for slots in (1, 4, 8, 16))
        formats = (f"{OURS}8{UNCACHED}", f"{OURS}8{UNQUANTIZED}") if self.load == _FORMAT_TOKENS else ()
        return (CEILING, TRAINER, *processes, *ours, *formats)


def default_cells(shapes: tuple[str, ...]) -> tuple[Cell, ...]:
    """Return all cells of some shapes; the tiny shape has one, so that it takes a CPU few minutes."""
    loads: dict[str, tuple[str, ...]] = dict.fromkeys(SHAPES, (*_TOKENS, LOGNORMAL.name, DECODE))
    loads["tiny"], loads["llama32-1b"] = ("512",), ("512", "2048", "8192")
    return tuple(Cell(shape=shape, load=load) for shape in shapes for load in loads[shape])


def count_of(variant: str, prefix: str) -> int | None:
    """Return the number in a variant's name; None if the name does not begin with the prefix."""
    if not variant.startswith(prefix):
        return None
    return int(variant.removeprefix(prefix).removesuffix(UNCACHED).removesuffix(UNQUANTIZED))


def is_another_format(variant: str) -> bool:
    """Return whether a variant stores its base in another form than the variants that are compared."""
    return variant.endswith((UNCACHED, UNQUANTIZED))
