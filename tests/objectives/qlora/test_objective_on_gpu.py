"""The packed objective as it runs on a GPU: bf16, CUDA graphs, packed decoding."""

from collections import deque

import pytest
import torch

from loratory.objectives.events import Failed, Finished, Progressed, Ready, Start

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]


def run_all(objective, trials):
    """Every trial to its end, as many at once as the objective takes; events by trial."""
    waiting, events = deque(trials), {trial.key: [] for trial in trials}
    running = set()
    for _ in range(20_000):
        starts = []
        while waiting and len(running) < objective.capacity:
            starts.append(Start(trial=waiting.popleft()))
            running.add(starts[-1].trial.key)
        for event in objective.advance(starts):
            if not isinstance(event, Ready):
                events[event.key].append(event)
            if isinstance(event, Finished | Failed):
                running.discard(event.key)
        if not running and not waiting:
            return events
    raise AssertionError("the trials did not end")


def losses(events):
    return [point.loss for event in events if isinstance(event, Progressed) for point in event.points]


@pytest.fixture(scope="module")
def trials(make_study, make_trial):
    study = make_study()
    changes = [
        {},
        {"rank": 16},
        {"batch_size": 4},
        {"dropout": 0.0},
        {"learning_rate": 3e-3},
        {"epochs": 1.0},
    ]
    return [make_trial(study, number, seed=number, **change) for number, change in enumerate(changes)]


def study_of(make_study, **changes):
    return make_study(
        space={"rank": [4, 16]},
        metric="rougeL",
        evaluation={"metrics": ["rougeL"], "evaluations": 3},
        **changes,
    )


def test_packed_trials_are_those_of_packs_of_one(make_study, make_objective, trials):
    packed = make_objective(study_of(make_study, packing={"slots": 4}))
    together = run_all(packed, trials)
    assert packed._engine._runner._captured, "no pass ran as a CUDA graph"
    alone = run_all(make_objective(study_of(make_study, packing={"slots": 1})), trials)
    for number in together:
        assert isinstance(together[number][-1], Finished), together[number][-1]
        assert losses(together[number]) == pytest.approx(losses(alone[number]), rel=3e-2)


def test_fp32_packs_agree_closely(make_study, make_objective, trials):
    torch.backends.cuda.matmul.allow_tf32 = False
    model = {"compute_dtype": "fp32"}
    together = run_all(make_objective(study_of(make_study, packing={"slots": 4}, model=model)), trials)
    alone = run_all(make_objective(study_of(make_study, packing={"slots": 1}, model=model)), trials)
    for number in together:
        assert losses(together[number]) == pytest.approx(losses(alone[number]), rel=1e-3)


def test_checkpointed_activations_change_little(make_study, make_objective, trials):
    packing = {"slots": 4}
    plain = run_all(make_objective(study_of(make_study, packing=packing)), trials)
    model = {"gradient_checkpointing": True}
    saved = run_all(make_objective(study_of(make_study, packing=packing, model=model)), trials)
    for number in plain:
        assert losses(saved[number]) == pytest.approx(losses(plain[number]), rel=3e-2)


def test_base_held_or_dequantised_in_each_pass(make_study, make_objective, trials):
    held = run_all(make_objective(study_of(make_study, packing={"slots": 4, "cache_base": True})), trials)
    read = run_all(make_objective(study_of(make_study, packing={"slots": 4, "cache_base": False})), trials)
    for number in held:
        assert losses(read[number]) == pytest.approx(losses(held[number]), rel=3e-2)


def test_trials_on_an_unquantised_base_are_those_of_packs_of_one(make_study, make_objective, trials):
    model = {"quantization": "none"}
    packed = make_objective(study_of(make_study, packing={"slots": 4}, model=model))
    assert not packed._engine._model.holds_base and packed._engine._model.held_bytes == 0
    together = run_all(packed, trials)
    assert packed._engine._runner._captured, "no pass ran as a CUDA graph"
    alone = run_all(make_objective(study_of(make_study, packing={"slots": 1}, model=model)), trials)
    for number in together:
        assert isinstance(together[number][-1], Finished), together[number][-1]
        assert losses(together[number]) == pytest.approx(losses(alone[number]), rel=3e-2)
