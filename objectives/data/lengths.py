"""Remove rows that are longer than the study or the model allows."""

from dataclasses import dataclass

import numpy as np

from loratory.objectives.data.encoded_rows import EncodedRows, Indices, keep
from loratory.objectives.data.rows import Ledger, Part, Reason
from loratory.spaces.data import DataSpec
from loratory.spaces.errors import InputError

USUAL_LENGTH = 1024
"""Longest prompt plus answer of a study that sets none, in tokens, if the model reads as much."""


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

    def problem(self, prompt: int, answer: int, part: Part) -> str | None:
        """Return in which way a row is too long, or None if it fits.

        Args:
            prompt: tokens of the prompt.
            answer: tokens of the answer.
            part: split of the row.
        """
        if prompt + answer > self.max_length:
            return (
                f"{prompt + answer} tokens ({prompt} prompt, {answer} answer), "
                f"data.max_length is {self.max_length}"
            )
        decoded = prompt + self.max_new_tokens
        if part is not Part.TRAIN and self.max_positions is not None and decoded > self.max_positions:
            return (
                f"a prompt of {prompt} tokens leaves no room to decode "
                f"evaluation.max_new_tokens {self.max_new_tokens}: the model takes {self.max_positions}"
            )
        return None


def resolve_max_length(data: DataSpec, max_positions: int | None) -> int:
    """Return the longest prompt plus answer, in tokens.

    Raises:
        InputError: `data.max_length` is beyond the model's limit.
    """
    if data.max_length is None:
        return min(USUAL_LENGTH, max_positions or USUAL_LENGTH)
    if max_positions is not None and data.max_length > max_positions:
        raise InputError(
            f"data.max_length must be at most {max_positions}, the model's longest input, "
            f"got {data.max_length}"
        )
    return data.max_length


def within_length(
    rows: EncodedRows, indices: Indices, part: Part, *, lengths: Lengths, ledger: Ledger
) -> Indices:
    """Return the rows that fit; the others go to the ledger, since cut rows would teach to stop early."""
    prompts, answers = rows.examples.prompt_lengths[indices], rows.examples.answer_lengths[indices]
    most = lengths.max_length
    if lengths.max_positions is not None:
        most = min(most, lengths.max_positions - lengths.max_new_tokens)
    problems = {}
    for place in np.flatnonzero(prompts + answers > most).tolist():
        problem = lengths.problem(int(prompts[place]), int(answers[place]), part)
        if problem is not None:
            problems[int(indices[place])] = (Reason.OVER_LENGTH, problem)
    return keep(rows, indices, problems, part=part, ledger=ledger)
