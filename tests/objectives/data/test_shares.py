import math

import numpy as np
import pytest

from loratory.objectives.data.shares import dev_examples, eval_fraction, half_width, select_and_confirm

SIZES = [(20, 5, 2), (50, 12, 6), (200, 50, 25), (512, 128, 64), (2_000, 200, 64), (20_000, 2_000, 64)]


@pytest.mark.parametrize(
    ("rows", "eval_", "dev"),
    SIZES,
)
def test_sizes_where_the_study_sets_none(rows, eval_, dev):
    assert round(rows * eval_fraction(rows)) == eval_
    assert dev_examples(eval_) == dev


@pytest.mark.parametrize(
    ("rest", "select", "confirm", "sizes"),
    [
        (64, None, None, (64, 0)),
        (249, None, None, (249, 0)),
        (250, None, None, (200, 50)),
        (400, None, None, (200, 200)),
        (1_001, None, None, (501, 500)),
        (1_001, None, 0, (1_001, 0)),
        (1_001, None, 300, (701, 300)),
        (100, None, 300, (50, 50)),
        (368, 150, None, (150, 150)),
        (200, 150, None, (150, 50)),
        (100, 150, None, (100, 0)),
        (368, 150, 0, (150, 0)),
        (368, 150, 300, (150, 218)),
        (1, None, 5, (1, 0)),
    ],
)
def test_select_comes_before_confirm(rest, select, confirm, sizes):
    assert select_and_confirm(rest, select=select, confirm=confirm) == sizes


def test_the_interval_holds_the_difference_that_it_should():
    draw, examples, disagreement = np.random.default_rng(0), 60, 0.3
    signs = draw.choice(
        [-1, 0, 1], p=[disagreement / 2, 1 - disagreement, disagreement / 2], size=(4_000, examples)
    )
    inside = np.abs(signs.mean(axis=1)) <= half_width(examples, disagreement)
    assert inside.mean() == pytest.approx(0.95, abs=0.02)
    assert half_width(25, 0.5) == pytest.approx(1.96 * math.sqrt(0.5) / 5)
