import pytest

from loratory.objectives.records import CurvePoint
from loratory.reports.curves import thinned


def step(number: int, loss: float) -> CurvePoint:
    return CurvePoint(
        optimizer_step=number, loss=loss, learning_rate=1e-3, grad_norm=1.0, tokens_seen=number * 10
    )


def test_short_curves_stay_whole() -> None:
    assert [(p.x, p.y) for p in thinned([step(1, 4.0), step(2, 3.0)])] == [(10, 4.0), (20, 3.0)]


def test_long_curves_become_means_that_keep_the_whole_mean() -> None:
    steps = [step(n, 1.0 if n % 2 else 3.0) for n in range(1, 1001)]
    points = thinned(steps, points=10)
    assert len(points) == 10
    assert all(point.y == pytest.approx(2.0) for point in points)
    assert points[0].x == pytest.approx(505)


def test_no_steps_make_no_curve() -> None:
    assert thinned([]) == ()
