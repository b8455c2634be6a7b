"""The start of a study, before the driver's event loop."""

import threading
import time

import pytest
import ray

from loratory.objectives.objective import ObjectiveKind
from loratory.search import run_study
from loratory.spaces.errors import InputError


def use(monkeypatch, **functions):
    kind = ObjectiveKind(build=lambda *_: None, **functions)
    monkeypatch.setattr("loratory.search.study_run.objective_kind", lambda _: kind)


def refuse(*_):
    raise InputError("train.jsonl:3: must be JSON")


def test_what_can_be_told_at_once_is_told_before_libraries_are_imported(toy_study, tmp_path, monkeypatch):
    late = []
    use(
        monkeypatch,
        check=refuse,
        prepare=lambda *_: late.append("data"),
        import_for_prepare=lambda: late.append("imports"),
    )
    with pytest.raises(InputError, match=r"train.jsonl:3"):
        run_study(toy_study(), runs=tmp_path)
    assert late == []
    assert not ray.is_initialized()


def test_a_missing_gpu_is_said_while_libraries_are_imported_and_no_data_is_read(
    toy_study, tmp_path, monkeypatch
):
    told, read = threading.Event(), []
    use(monkeypatch, prepare=lambda *_: read.append("data"), import_for_prepare=lambda: told.wait(60))
    try:
        with pytest.raises(InputError, match="must fit a node"):
            run_study(toy_study(resources={"cpus_per_worker": 999}), runs=tmp_path)
    finally:
        told.set()
    assert read == []
    assert not ray.is_initialized()
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_imported_is_told_where_it_is_needed(toy_study, tmp_path, monkeypatch):
    def missing():
        raise ImportError("no module named transformers")

    use(monkeypatch, prepare=refuse, import_for_prepare=missing)
    with pytest.raises(InputError, match=r"train.jsonl:3"):
        run_study(toy_study(), runs=tmp_path, local=True)


def test_wrong_data_ends_the_workers_that_wait_for_it(toy_study, tmp_path, monkeypatch):
    use(monkeypatch, prepare=refuse)
    ray.init(address="local", num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        with pytest.raises(InputError, match=r"train.jsonl:3"):
            run_study(toy_study(), runs=tmp_path)
        until = time.monotonic() + 30
        while ray.available_resources().get("CPU", 0) < 1 and time.monotonic() < until:
            time.sleep(0.1)
        assert ray.available_resources()["CPU"] == 1
    finally:
        ray.shutdown()
    assert not list(tmp_path.iterdir())
