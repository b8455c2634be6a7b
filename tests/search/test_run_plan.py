"""The plan that a run prints."""

import threading
from types import SimpleNamespace

import pytest
import torch

from loratory.objectives.objective import Prepared
from loratory.objectives.qlora.memory import devices, planning
from loratory.search.run_plan import RunPlan
from loratory.spaces.study import StudySpec

STUDY = StudySpec.model_validate(
    {
        "name": "r",
        "model": {"base": "builtin:quickstart"},
        "data": {"train": "no.jsonl"},
        "space": {"rank": [4, 8]},
        "resources": {"gpus_per_worker": 0.5, "workers": 2},
    }
)
PREPARED = Prepared(payload=SimpleNamespace(data=None))


@pytest.fixture
def gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(devices, "gpu_of_device", lambda _: devices.gpu_named("H100"))
    monkeypatch.setattr(devices, "free_bytes", lambda _: None)


def planned(study=STUDY):
    """Return the lines of a run's plan, and the seconds that it predicts."""
    lines = []
    plan = RunPlan(study, PREPARED, lines.append)
    if plan._thread.ident is not None:
        plan._thread.join()
    return lines, plan.seconds()


def test_a_failing_plan_is_a_line_and_stops_nothing(gpu, monkeypatch):
    def fail(*_, gpu, gpus):
        raise ValueError(
            f"no sizes on\n{gpu.memory_bytes == devices.gpu_named('H100').memory_bytes // 2} {gpus}"
        )

    monkeypatch.setattr(planning, "plan_of_data", fail)
    assert planned() == (["plan: none, since no sizes on True 2"], None)


def test_what_other_processes_hold_is_not_planned_with(gpu, monkeypatch):
    monkeypatch.setattr(devices, "free_bytes", lambda _: 8 * 2**30)

    def fail(*_, gpu, **__):
        raise ValueError(f"{gpu.memory_bytes / 2**30:g} GiB for a worker")

    monkeypatch.setattr(planning, "plan_of_data", fail)
    lines, _ = planned()
    assert lines == [
        "plan: 8.0 GiB of the GPU's 79.1 are free: other processes have the rest",
        "plan: none, since 4 GiB for a worker",
    ]


def test_a_run_that_is_over_prints_no_plan(gpu, monkeypatch):
    over = threading.Event()

    def fail(*_, **__):
        over.wait(10)
        raise ValueError("late")

    monkeypatch.setattr(planning, "plan_of_data", fail)
    lines = []
    plan = RunPlan(STUDY, PREPARED, lines.append)
    plan.close()
    over.set()
    plan._thread.join()
    assert lines == []


def test_without_a_gpu_and_for_the_toy_nothing_is_planned(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert planned() == ([], None)
    toy = StudySpec.model_validate({"name": "t", "objective": "toy", "space": {"rank": [4]}})
    assert planned(toy) == ([], None)
