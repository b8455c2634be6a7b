"""What happens before the driver drives."""

import threading

import pytest
import ray

from loratory.objectives.objective import ObjectiveKind, Prepared
from loratory.search import run_study
from loratory.spaces.errors import InputError


def test_a_missing_gpu_is_said_before_the_data_is_read(toy_study, tmp_path, monkeypatch):
    read, told = threading.Event(), threading.Event()

    def prepare(_):
        told.wait(60)
        read.set()
        return Prepared()

    kind = ObjectiveKind(prepare=prepare, build=lambda *_: None)
    monkeypatch.setattr("loratory.search.study_run.objective_kind", lambda _: kind)
    with pytest.raises(InputError, match="must fit a node"):
        run_study(toy_study(resources={"gpus_per_worker": 3}), runs=tmp_path)
    assert not read.is_set()
    assert not ray.is_initialized()
    assert not list(tmp_path.iterdir())
    told.set()
    assert read.wait(10)


def test_wrong_data_ends_the_workers_that_wait_for_it(toy_study, tmp_path, monkeypatch):
    def prepare(_):
        raise InputError("train.jsonl:3: must be JSON")

    kind = ObjectiveKind(prepare=prepare, build=lambda *_: None)
    monkeypatch.setattr("loratory.search.study_run.objective_kind", lambda _: kind)
    with pytest.raises(InputError, match=r"train.jsonl:3"):
        run_study(toy_study(), runs=tmp_path)
    assert not ray.is_initialized()
    assert not list(tmp_path.iterdir())
