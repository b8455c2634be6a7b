"""The answers in references that are scored, where a study extracts them."""

from collections.abc import Mapping, Sequence

from loratory.objectives.data.encoding import Encoded
from loratory.objectives.data.rows import Part
from loratory.objectives.metrics.scored_text import scored_part
from loratory.spaces.data import EvaluationSpec
from loratory.spaces.errors import InputError


def check_answers_found(parts: Mapping[Part, Sequence[Encoded]], evaluation: EvaluationSpec) -> None:
    """Refuse references of eval and test in which there is nothing to score.

    Args:
        parts: the cleaned rows of each split.
        evaluation: names what to extract.

    Raises:
        InputError: `evaluation.extract` finds nothing in a reference.
    """
    if evaluation.extract is None:
        return
    for part in (Part.EVAL, Part.TEST):
        without = [example for example in parts[part] if scored_part(example.reference, evaluation) is None]
        if without:
            raise InputError(
                f"{without[0].row.raw.place}: evaluation.extract must find the answer in every reference of "
                f"eval and test, {evaluation.extract!r} finds none in {without[0].reference[-80:]!r} "
                f"({len(without)} of {len(parts[part])} of {part}); change it or the rows"
            )
