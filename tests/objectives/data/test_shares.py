import math

import numpy as np
import pytest

from loratory.objectives.data.shares import dev_examples, eval_fraction, half_width

SIZES = [(20, 5, 2), (50, 12, 6), (200, 50, 25), (512, 128, 64), (2_000, 200, 64), (20_000, 2_000, 64)]


@pytest.mark.parametrize(
    ("rows", "eval_", "dev"),
    SIZES,
)
def test_sizes_where_the_study_sets_none(rows, eval_, dev):
    assert round(rows * eval_fraction(rows)) == eval_
    assert dev_examples(eval_) == dev


def test_the_interval_holds_the_difference_that_it_should():
    draw, examples, disagreement = np.random.default_rng(0), 60, 0.3
    signs = draw.choice(
        [-1, 0, 1], p=[disagreement / 2, 1 - disagreement, disagreement / 2], size=(4_000, examples)
    )
    inside = np.abs(signs.mean(axis=1)) <= half_width(examples, disagreement)
    assert inside.mean() == pytest.approx(0.95, abs=0.02)
    assert half_width(25, 0.5) == pytest.approx(1.96 * math.sqrt(0.5) / 5)
