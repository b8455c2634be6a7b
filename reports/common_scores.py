"""The scores that several models have in common: the same examples, scored alike."""

from collections.abc import Sequence
from typing import NamedTuple

from loratory.objectives.events import Split
from loratory.objectives.scores import ScoreTable
from loratory.reports.contenders import Contender
from loratory.reports.statistics.pooled import joined
from loratory.spaces.errors import InputError

SELECT, BOTH = "select", "select and confirm"
"""Names of the parts that are compared."""


class CommonScores(NamedTuple):
    """Scores of models on the same examples.

    Attributes:
        split: `select`, or `select and confirm`: both together, as they choose what is published.
        tables: per-example scores, one table per model.
        why_select: why eval.confirm has no part in it; empty where it has one, or where no study has it.
    """

    split: str
    tables: tuple[ScoreTable, ...]
    why_select: str = ""


def common_scores(contenders: Sequence[Contender], metric: str) -> CommonScores:
    """Return the scores of models on select, and on confirm too where all have them.

    Args:
        contenders: the models, at least two.
        metric: name of a metric.

    Raises:
        InputError: they were scored on other examples of select, or the metric was computed otherwise.
    """
    names = [contender.name for contender in contenders]
    select = [contender.select for contender in contenders]
    check_alike(names, select, metric, split=SELECT)
    confirm = [contender.confirm for contender in contenders]
    scored = [table for table in confirm if table is not None]
    if not scored and not any(map(_has_confirm, contenders)):
        return CommonScores(SELECT, tuple(select))
    if len(scored) < len(names):
        missing = [name for name, table in zip(names, confirm, strict=True) if table is None]
        return CommonScores(SELECT, tuple(select), f"select alone: {lacking(missing)} no scores on confirm")
    try:
        check_alike(names, scored, metric, split="confirm")
    except InputError as error:
        return CommonScores(SELECT, tuple(select), f"select alone: {error}")
    both = [joined(first, second, metric) for first, second in zip(select, scored, strict=True)]
    whole = tuple(table for table in both if table is not None)
    if len(whole) < len(both):
        return CommonScores(SELECT, tuple(select), f"select alone: confirm has no {metric} per example")
    return CommonScores(BOTH, whole)


def check_confirm(contenders: Sequence[Contender], metric: str) -> None:
    """Refuse studies with parts to confirm that differ: their splits are not the same.

    Args:
        contenders: what they publish.
        metric: name of the metric.

    Raises:
        InputError: two were scored on other examples of confirm, or scored otherwise there.
    """
    scored = [(each.name, each.confirm) for each in contenders if each.confirm is not None]
    if len(scored) > 1:
        names, tables = zip(*scored, strict=True)
        check_alike(names, tables, metric, split="confirm")


def _has_confirm(contender: Contender) -> bool:
    return bool((contender.study.read_manifest().splits or {}).get(Split.CONFIRM.value))


def check_alike(names: Sequence[str], tables: Sequence[ScoreTable], metric: str, *, split: str) -> None:
    """Refuse scores of other examples, or of a metric that was computed otherwise.

    Args:
        names: names of the models.
        tables: their scores per example on a split.
        metric: name of the metric.
        split: name of the split.

    Raises:
        InputError: scores differ from those of the first model in one of these.
    """
    for name, table in zip(names[1:], tables[1:], strict=True):
        _check_pair((names[0], name), (tables[0], table), metric, split=split)


def _check_pair(
    names: tuple[str, str], tables: tuple[ScoreTable, ScoreTable], metric: str, *, split: str
) -> None:
    both = " and ".join(names)
    ids = [table.example_ids for table in tables]
    if ids[0] != ids[1]:
        shared = len(set(ids[0]) & set(ids[1]))
        raise InputError(
            f"{both} must be scored on the same examples; {shared:,} of {len(ids[0]):,} and {len(ids[1]):,} "
            f"are shared on {split}: studies draw the same eval from the same data with the same "
            "`data.eval_fraction` and `evaluation.*_examples`"
        )
    signatures = [table.signatures.get(metric, "") for table in tables]
    if signatures[0] != signatures[1]:
        raise InputError(
            f"{both} must be scored alike; {metric} was computed as {signatures[0]!r} and as "
            f"{signatures[1]!r} on {split}"
        )


def lacking(names: Sequence[str]) -> str:
    """Return names as the beginning of a sentence on what they have not: `a has`, `a and b have`."""
    return f"{' and '.join(names)} {'has' if len(names) == 1 else 'have'}"
