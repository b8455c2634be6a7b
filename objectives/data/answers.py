"""The parts of references that are scored, where a study scores less than whole answers."""

from collections.abc import Mapping

from loratory.objectives.data.encoded_rows import EncodedRows, Indices
from loratory.objectives.data.rows import Part
from loratory.objectives.data.thoughts import after_thought
from loratory.objectives.metrics.scored_text import scored_part
from loratory.spaces.data import EvaluationSpec
from loratory.spaces.errors import InputError


def scored_reference(reference: str, evaluation: EvaluationSpec) -> str | None:
    """Return the part of a reference that is scored; None if there is none."""
    answer = reference if evaluation.score_thoughts else after_thought(reference)
    return scored_part(answer, evaluation) if answer.strip() else None


def check_answers_found(rows: EncodedRows, parts: Mapping[Part, Indices], evaluation: EvaluationSpec) -> None:
    """Refuse references of eval and test in which there is nothing to score.

    Args:
        rows: all rows.
        parts: indices of the cleaned rows of each split.
        evaluation: says what is scored.

    Raises:
        InputError: a reference is a thought alone, which is not scored, or `evaluation.extract` finds nothing
            in it.
    """
    if evaluation.extract is None and evaluation.score_thoughts:
        return
    for part in (Part.EVAL, Part.TEST):
        references = zip(parts[part].tolist(), rows.examples.references.take(parts[part]), strict=True)
        without = [found for found in references if scored_reference(found[1], evaluation) is None]
        if without:
            index, reference = without[0]
            raise InputError(
                f"{rows.place(index)}: {_rule(reference, evaluation)} "
                f"({len(without)} of {len(parts[part])} of {part}); change it or the rows"
            )


def _rule(reference: str, evaluation: EvaluationSpec) -> str:
    answer = reference if evaluation.score_thoughts else after_thought(reference)
    if not answer.strip():
        return (
            "evaluation.score_thoughts: false must leave an answer after the thought of every reference of "
            f"eval and test, leaves none of {reference[-80:]!r}"
        )
    return (
        "evaluation.extract must find the answer in every reference of eval and test, "
        f"{evaluation.extract!r} finds none in {answer[-80:]!r}"
    )
