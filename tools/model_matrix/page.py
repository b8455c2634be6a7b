"""The verdicts as lines of the terminal and as docs/models.md."""

from collections.abc import Sequence

from model_matrix.verdict import Verdict

_WIDTH = 120


def summary(verdict: Verdict) -> str:
    """Return a verdict as one line."""
    ways = f"{verdict.training:14s} {verdict.decoding:9s}"
    return (
        f"{verdict.name:45s} {verdict.result:9s} {ways} {verdict.seconds:5.1f} s  {verdict.detail}".rstrip()
    )


def page(verdicts: Sequence[Verdict]) -> str:
    """Return the page of the documentation."""
    return ""
