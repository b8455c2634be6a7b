"""The answers in references that are scored, where a study extracts them."""

from collections.abc import Mapping

from loratory.objectives.data.encoded_rows import EncodedRows, Indices
from loratory.objectives.data.rows import Part
from loratory.objectives.metrics.scored_text import scored_part
from loratory.spaces.data import EvaluationSpec
from loratory.spaces.errors import InputError


def check_answers_found(rows: EncodedRows, parts: Mapping[Part, Indices], evaluation: EvaluationSpec) -> None:
    """Refuse references of eval and test in which there is nothing to score.

    Args:
        rows: all rows.
        parts: indices of the cleaned rows of each split.
        evaluation: names what to extract.

    Raises:
        InputError: `evaluation.extract` finds nothing in a reference.
    """
    if evaluation.extract is None:
        return
    for part in (Part.EVAL, Part.TEST):
        references = zip(parts[part].tolist(), rows.examples.references.take(parts[part]), strict=True)
        without = [found for found in references if scored_part(found[1], evaluation) is None]
        if without:
            index, reference = without[0]
            raise InputError(
                f"{rows.place(index)}: evaluation.extract must find the answer in every reference of "
                f"eval and test, {evaluation.extract!r} finds none in {reference[-80:]!r} "
                f"({len(without)} of {len(parts[part])} of {part}); change it or the rows"
            )
