"""Sizes of eval, dev, select and confirm where the study file sets none."""

USUAL_EVAL, SMALL_EVAL = 0.1, 0.25
USUAL_DEV = 64
USUAL_SELECT, SMALLEST_CONFIRM = 200, 50


def eval_fraction(rows: int) -> float:
    """Return the share of train that becomes eval: a tenth; of few rows more, up to a quarter.

    From 1,280 rows on a tenth gives dev its 64 examples and select as many. Of fewer rows eval takes these
    128, or a quarter if that is less: few scores hardly tell trials apart, and train would miss more rows.
    """
    return min(SMALL_EVAL, max(USUAL_EVAL, 2 * USUAL_DEV / rows))


def dev_examples(eval_examples: int) -> int:
    """Return the number of eval examples for dev: 64, and of few at most half."""
    return max(1, min(USUAL_DEV, eval_examples // 2))


def select_and_confirm(rest: int, *, select: int | None, confirm: int | None) -> tuple[int, int]:
    """Return the numbers of eval examples for select and for confirm.

    Select comes first. Where the file sets neither, it takes 200, confirm takes the next 200, and they share
    what is left; fewer than 50 for confirm stay with select. Where the file sets confirm alone, select keeps
    at least half.

    Args:
        rest: examples of eval that dev leaves.
        select: `evaluation.select_examples`; None takes the rest, less what confirm gets.
        confirm: `evaluation.confirm_examples`; None takes as many as select has.
    """
    if select is not None:
        select = min(select, rest)
        return select, min(select if confirm is None else confirm, rest - select)
    if confirm is not None:
        confirm = min(confirm, rest // 2)
        return rest - confirm, confirm
    confirm = min(max(0, rest - USUAL_SELECT), rest // 2)
    confirm = confirm if confirm >= SMALLEST_CONFIRM else 0
    return rest - confirm, confirm


def half_width(examples: int, disagreement: float) -> float:
    """Return half the width of the 95% interval of a difference between two shares of right answers.

    Both are shares of the same examples. If one answer is right and the other wrong on a share of them, and
    the shares are about equal, the difference has the variance disagreement / examples.
    """
    return float(1.96 * (disagreement / examples) ** 0.5)
