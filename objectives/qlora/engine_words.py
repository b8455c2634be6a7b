"""The sizes of an engine in words, for the terminal."""

from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.spaces.study import StudySpec


def chosen_lines(sizes: str, *, failed: int, highest_rank: int | None, study: StudySpec) -> tuple[str, ...]:
    """Return what a worker chose, as lines of text.

    Args:
        sizes: of `sizes_text`.
        failed: larger arrangements that were tried before and did not fit.
        highest_rank: the highest rank that fits; None where all ranks of the study do.
        study: the study.
    """
    lines = [f"pack: {sizes}"]
    if failed:
        lines.append(
            f"memory: {failed} larger arrangement{'s' * (failed > 1)} did not fit, against the prediction"
        )
    if highest_rank is not None:
        lines.append(
            f"memory: ranks above {highest_rank} do not fit on this GPU and are not tried; the space goes up "
            f"to {max(study.extremes_of('rank'))}"
        )
    return tuple(lines)


def sizes_text(size: EngineSize, *, dtype: str, held_bytes: int, decodes: bool, captures: bool = True) -> str:
    """Return the sizes of an engine in words.

    Args:
        size: the sizes.
        dtype: compute dtype, without the name of its library.
        held_bytes: memory of the dequantised base; 0 where there is nothing to dequantise.
        decodes: whether answers are decoded.
        captures: whether passes of the base can be captured as CUDA graphs.
    """
    parts = [
        f"{size.slots} trial{'s' * (size.slots > 1)} on one base",
        f"up to {size.tokens_per_pass:,} tokens per pass",
        _base_in(dtype, held_bytes, held=size.hold_base),
        *(["activations recomputed"] if size.checkpointing else []),
        *([f"moments in {size.optimizer_bits} bits"] if size.optimizer_bits != 32 else []),
        *(["moments in main memory"] if size.offload else []),
        *(["no CUDA graphs"] if captures and not size.graphs else []),
        *([f"up to {prompts_text(size.decoding_rows)} decoded at once"] if decodes else []),
    ]
    return ", ".join(parts)


def _base_in(dtype: str, held_bytes: int, *, held: bool) -> str:
    """Return a phrase that says how passes read the base."""
    if not held_bytes:
        return f"base not quantised, in {dtype}"
    if held:
        return f"base held dequantised in {dtype} ({_size(held_bytes)})"
    return "base dequantised in each pass"


def prompts_text(rows: int) -> str:
    """Return a number of prompts in words."""
    return f"{rows} prompt{'s' * (rows > 1)}"


def _size(number: int) -> str:
    """Return a number of bytes in a readable unit."""
    mebibytes = number / 2**20
    return f"{mebibytes:.0f} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GiB"
