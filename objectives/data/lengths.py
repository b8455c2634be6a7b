"""Remove rows that are longer than the study or the model allows."""

from collections.abc import Iterable
from dataclasses import dataclass

from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.rows import Ledger, Part, Reason
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError


@dataclass(frozen=True)
class Lengths:
    """Limits on the length of a row, in tokens.

    Attributes:
        max_length: prompt plus answer.
        max_positions: longest input of the model; None where it has no limit.
        max_new_tokens: longest answer that is decoded.
    """

    max_length: int
    max_positions: int | None
    max_new_tokens: int

    def problem(self, example: Encoded, part: Part) -> str | None:
        """Return in which way a row is too long, or None if it fits."""
        if len(example) > self.max_length:
            return (
                f"{len(example)} tokens ({len(example.prompt_ids)} prompt, "
                f"{len(example.answer_ids)} answer), "
                f"data.max_length is {self.max_length}"
            )
        decoded = len(example.prompt_ids) + self.max_new_tokens
        if part is not Part.TRAIN and self.max_positions is not None and decoded > self.max_positions:
            return (
                f"a prompt of {len(example.prompt_ids)} tokens leaves no room to decode "
                f"evaluation.max_new_tokens {self.max_new_tokens}: the model takes {self.max_positions}"
            )
        return None


def check_max_length(data: DataSpec, max_positions: int | None) -> None:
    """Refuse a `data.max_length` that the model cannot read.

    Raises:
        InputError: `data.max_length` is beyond the model's limit.
    """
    if max_positions is not None and data.max_length > max_positions:
        raise InputError(
            f"data.max_length must be at most {max_positions}, the model's longest input, "
            f"got {data.max_length}"
        )


def within_length(
    examples: Iterable[Encoded], part: Part, *, lengths: Lengths, ledger: Ledger
) -> list[Encoded]:
    """Return the rows that fit; the others go to the ledger, since cut rows would teach to stop early."""
    kept = []
    for example in examples:
        problem = lengths.problem(example, part)
        if problem is None:
            kept.append(example)
        else:
            ledger.remove(part, example.row.raw, reason=Reason.OVER_LENGTH, detail=problem)
    return kept
