import math

import pytest
import torch

from loratory.objectives.packing.optimizer import SlotOptimizer
from loratory.objectives.packing.update_rules import BETAS, EPSILON, AdamW, SlotRows

SIZE, SETTINGS = 24, {"weight_decay": 0.3, "max_grad_norm": 1.0, "loss_scaling": False}


def slot_optimizer(master, gradient, rule=AdamW(), **settings):  # noqa: B008
    rows = SlotRows(master, gradient, spans_a=[slice(0, 16)], spans_b=[slice(16, SIZE)])
    return SlotOptimizer(rows, rule, **settings)


def row(seed, size=SIZE):
    return torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("limit", [None, 1.0, 100.0])
def test_steps_are_those_of_adamw_after_clipping(limit):
    master, gradient = row(0), torch.ones(SIZE, dtype=torch.float64)
    mine = slot_optimizer(master, gradient, **(SETTINGS | {"max_grad_norm": limit}))
    assert not gradient.any()
    theirs = torch.nn.Parameter(row(0))
    adamw = torch.optim.AdamW([theirs], betas=BETAS, eps=EPSILON, weight_decay=0.3)
    for step in range(4):
        gradient += row(step + 1)
        theirs.grad, rate = row(step + 1), 0.1 / (step + 1)
        norm = torch.nn.utils.clip_grad_norm_([theirs], math.inf if limit is None else limit)
        adamw.param_groups[0]["lr"] = rate
        adamw.step()
        assert float(mine.step(rate)) == pytest.approx(float(norm), rel=1e-12)
        assert not gradient.any()
        torch.testing.assert_close(master, theirs.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("steps", [0, 3])
def test_restored_moments_go_on_exactly_and_leave_what_was_given_alone(steps):
    master, gradient = row(0), torch.zeros(SIZE, dtype=torch.float64)
    mine = slot_optimizer(master, gradient, **SETTINGS)
    for step in range(steps):
        gradient += row(step + 1)
        mine.step(0.1)
    again, other = master.clone(), torch.zeros(SIZE, dtype=torch.float64)
    moments = {name: value.clone() for name, value in mine.moments().items()}
    given = {name: value.clone() for name, value in moments.items()}
    assert set(moments) == ({"exp_avg", "exp_avg_sq", "step"} if steps else set())
    restored = slot_optimizer(again, other, **SETTINGS)
    restored.restore(given, mine.scaler.state_dict())
    for step in (8, 9):
        gradient += row(step)
        other += row(step)
        assert torch.equal(mine.step(0.1), restored.step(0.1))
    assert torch.equal(master, again)
    assert all(torch.equal(given[name], value) for name, value in moments.items())


def test_a_step_makes_no_state_and_leaves_that_of_adamw():
    master, gradient = row(0), torch.zeros(SIZE, dtype=torch.float64)
    mine = slot_optimizer(master, gradient, **SETTINGS)
    before = {name: value.data_ptr() for name, value in mine._optimizer.state_dict()["state"][0].items()}
    assert mine.moments() == {}
    gradient += row(1)
    mine.step(0.1)
    assert {name: value.data_ptr() for name, value in mine.moments().items()} == before
    theirs = torch.nn.Parameter(row(0))
    theirs.grad = row(1)
    adamw = torch.optim.AdamW([theirs], fused=True)
    adamw.step()
    expected = adamw.state[theirs]
    got = mine.moments()
    assert {n: (v.dtype, v.shape) for n, v in got.items()} == {
        n: (v.dtype, v.shape) for n, v in expected.items()
    }
    assert float(got["step"]) == 1


@pytest.mark.parametrize("loss_scaling", [False, True])
@pytest.mark.parametrize("place", ["linalg.vector_norm", "optim.AdamW.step"])
def test_a_step_that_failed_is_made_again(monkeypatch, loss_scaling, place):
    settings = SETTINGS | {"loss_scaling": loss_scaling}
    results = []
    for fails in (False, True):
        master, gradient = row(0).float(), torch.zeros(SIZE)
        mine = slot_optimizer(master, gradient, **settings)
        given = mine.loss_scale * row(1).float()
        if fails:
            gradient += given
            with monkeypatch.context() as patch:
                patch.setattr(f"torch.{place}", fail)
                with pytest.raises(torch.OutOfMemoryError):
                    mine.step(0.1)
            gradient.zero_()
        gradient += given
        norm = mine.step(0.1)
        results.append((master, norm, mine.moments(), mine.scaler.state_dict()))
    torch.testing.assert_close(results[0], results[1], rtol=0, atol=0)


def fail(*_, **__):
    raise torch.OutOfMemoryError("too much")


def test_rows_of_one_tensor_have_nothing_in_common():
    masters, gradients = torch.stack([row(0), row(1)]), torch.zeros(2, SIZE, dtype=torch.float64)
    first, second = (slot_optimizer(masters[i], gradients[i], **SETTINGS) for i in range(2))
    before = masters.clone()
    gradients += 1e6
    first.step(0.1)
    assert torch.equal(masters[1], before[1]) and not torch.equal(masters[0], before[0])
    assert gradients[1].all() and second.moments() == {}


def test_an_overflow_under_a_loss_scale_leaves_the_step_out_and_halves_the_scale():
    master, gradient = row(0).float(), torch.zeros(SIZE)
    mine = slot_optimizer(master, gradient, **(SETTINGS | {"loss_scaling": True}))
    scale = mine.loss_scale
    gradient += scale * row(1).float()
    assert float(mine.step(0.1)) == pytest.approx(float(row(1).norm()), rel=1e-5)
    before, moments = master.clone(), {n: v.clone() for n, v in mine.moments().items()}
    gradient += row(2).float()
    gradient[3] = torch.inf
    assert not mine.step(0.1).isfinite()
    assert torch.equal(master, before) and not gradient.any()
    assert all(torch.equal(mine.moments()[name], value) for name, value in moments.items())
    assert mine.loss_scale == scale / 2
    assert slot_optimizer(master, gradient, **SETTINGS).loss_scale == 1.0
