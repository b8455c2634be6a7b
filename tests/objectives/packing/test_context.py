"""The pass that layers work on is entered as a whole, one at a time, and cannot be changed."""

from dataclasses import FrozenInstanceError

import pytest
import torch

from loratory.objectives.packing.context import CurrentPass, PassContext
from loratory.objectives.packing.segments import Segments
from loratory.objectives.packing.stack import AdapterStack


@pytest.fixture
def current():
    stack = AdapterStack(
        {"layer": (4, 4)}, slots=1, rank=8, device=torch.device("cpu"), compute_dtype=torch.float32
    )
    return CurrentPass(stack=stack, segments=Segments.whole(0))


def test_layers_see_a_pass_until_its_block_ends_and_no_other_meanwhile(current):
    context = PassContext()
    assert context.current is None
    with context.enter(current) as entered:
        assert context.current is entered is current
        with pytest.raises(RuntimeError, match="a pass must be over before the next is entered"):
            context.enter(current).__enter__()
        assert context.current is current
    assert context.current is None
    with pytest.raises(ZeroDivisionError), context.enter(current):
        _ = 1 / 0
    assert context.current is None


def test_nothing_of_a_pass_can_be_set_from_outside(current):
    with pytest.raises(FrozenInstanceError):
        current.gradients = None
    with pytest.raises(AttributeError):
        PassContext().current = current
