"""Cells, tables and processes of the memory benchmarks, without a GPU."""

import threading
from dataclasses import replace

import pytest
import torch
from memory_cells import grab_worker, grabs
from memory_cells.capped_table import as_markdown, grab_line, study_line
from memory_cells.caps import CAPS, TIMED
from memory_cells.cells import CELLS, MemoryCell, held_out
from memory_cells.prediction import Compared
from memory_cells.watch import DeviceWatch
from memory_cells.worker import host_adapter, random_data
from packing_cells.models import build_model, linear_layers
from packing_cells.shapes import SHAPES, ModelShape

from loratory.objectives.qlora.memory.terms import MemoryTerms
from loratory.spaces.study import StudySpec

CPU = torch.device("cpu")
GIB = 2**30
SMALL = ModelShape(
    name="small",
    layers=2,
    hidden=64,
    intermediate=128,
    heads=4,
    key_value_heads=2,
    vocabulary=300,
    positions=512,
)


def test_the_cells_cover_what_the_model_is_asked_for():
    assert len({cell.name for cell in CELLS}) == len(CELLS) == 48
    assert {cell.shape for cell in CELLS} == {"1b", "7b", "8b", "13b"}
    assert {256, 4096} <= {cell.length for cell in CELLS}
    assert {4, 128} <= {cell.rank for cell in CELLS}
    assert {1, 16} <= {cell.slots for cell in CELLS}
    for name in ("checkpointing", "hold_base", "optimizer_bits"):
        for shape in ("1b", "7b", "8b", "13b"):
            assert len({getattr(cell, name) for cell in CELLS if cell.shape == shape}) == 2, (shape, name)


def test_half_of_the_cells_is_held_out_by_a_seed_alone():
    first = held_out(CELLS, seed=15)
    assert len(first) == 24 and first == held_out(CELLS[::-1], seed=15) != held_out(CELLS, seed=16)


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: cell.name)
def test_the_slots_of_a_cell_fill_its_passes(cell):
    assert cell.slots * cell.batch_size * cell.length >= cell.tokens_per_pass


@pytest.mark.parametrize(
    ("predicted", "measured", "good"),
    [(10.9, 10.0, True), (11.2, 10.0, False), (2.4, 2.0, True), (9.8, 10.0, True), (9.6, 10.0, False)],
)
def test_a_prediction_may_be_a_tenth_over_and_hardly_under(predicted, measured, good):
    terms = MemoryTerms(**dict.fromkeys(MemoryTerms.__dataclass_fields__, 0))
    terms = replace(terms, base=round(predicted * GIB))
    found = Compared(cell=CELLS[0], terms=terms, measured=round(measured * GIB), held_out=False)
    assert found.good is good


def test_a_base_of_repeated_layers_has_tensors_of_its_own_in_each():
    model = build_model(SMALL, device=CPU, seed=1, repeated=True)
    own = build_model(SMALL, device=CPU, seed=1)
    names = linear_layers(model)
    assert names == linear_layers(own)
    weights = [model.get_submodule(name).weight for name in names]
    assert len({weight.data_ptr() for weight in weights}) == len(weights)
    assert len({weight.quant_state.absmax.data_ptr() for weight in weights}) == len(weights)
    for name in names:
        mine, theirs = model.get_submodule(name), own.get_submodule(name)
        assert mine.weight.shape == theirs.weight.shape and mine.weight.dtype is theirs.weight.dtype
    assert torch.equal(weights[0], model.get_submodule(names[7]).weight)
    assert torch.isfinite(model(input_ids=torch.arange(2, 26).view(2, 12)).logits).all()


def test_random_data_has_one_length_and_an_adapter_all_layers():
    data = random_data(SMALL, length=32, prompt_tokens=8, train=5, scored=3)
    assert {*data.train.lengths.tolist(), *data.select.lengths.tolist()} == {32} and len(data.train) == 5
    assert set(data.dev.prompt_lengths.tolist()) == {8}
    state = host_adapter({"a": (64, 32), "b": (64, 32)}, rank=4)
    assert len(state) == 4 and state["base_model.model.b.lora_B.weight"].shape == (32, 4)


def test_settings_by_hand_are_settings_of_the_study_file():
    assert {name for name in TIMED if not name.startswith("tiny")} <= {cap.name for cap in CAPS}
    for settings in (one for some in TIMED.values() for one in some):
        study = StudySpec.model_validate(
            {
                "name": "by-hand",
                "space": {"learning_rate": [1e-4, 3e-4]},
                "model": {"base": "base", **settings.model},
                "data": {"train": "train.jsonl"},
                "packing": dict(settings.packing),
            }
        )
        assert study.packing.slots == settings.packing["slots"]


def test_mistral_has_no_window_and_every_shape_a_configuration():
    configuration = SHAPES["mistral-7b"].configuration()
    assert configuration.model_type == "mistral" and configuration.sliding_window is None
    assert SHAPES["70b"].configuration().num_hidden_layers == 80
    assert SHAPES["13b"].matmul_parameters == pytest.approx(12.9e9, rel=0.01)
    assert SHAPES["8b"].matmul_parameters == pytest.approx(7.5e9, rel=0.01)


def test_a_worker_stops_at_its_moment_once_and_goes_on_when_memory_was_taken(tmp_path):
    calls = []
    work = grab_worker._waiting(calls.append, which=2, folder=tmp_path)
    work(1)
    assert not (tmp_path / grab_worker.REACHED).exists()
    thread = threading.Thread(target=work, args=(2,))
    thread.start()
    while not (tmp_path / grab_worker.REACHED).exists():
        thread.join(0.001)
    assert calls == [1]
    (tmp_path / grab_worker.GRABBED).touch()
    thread.join()
    work(3)
    assert calls == [1, 2, 3]


@pytest.mark.parametrize("moment", grab_worker.MOMENTS)
def test_every_moment_is_a_function_of_the_worker(moment):
    import importlib

    module_name, class_name, name, _ = grab_worker.MOMENTS[moment]
    module = importlib.import_module(f"loratory.objectives.{module_name}")
    assert callable(getattr(getattr(module, class_name) if class_name else module, name))


@pytest.fixture
def studies(tmp_path):
    """Return studies that only count how often each moment ran."""

    class Studies:
        def __init__(self):
            self.ran = []

        def run(self, cap, *, module=("", "undisturbed"), local):
            self.ran.append(module[1])
            return {"cap": cap.name, "folder": str(tmp_path), "trials": [], "output": []}

    return Studies()


def test_moments_can_run_alone_after_the_undisturbed_study(studies, tmp_path):
    cap = next(cap for cap in CAPS if cap.name == "tiny-1")
    first = list(grabs.run_grabs(studies, cap, CPU, moments=["load"]))
    assert studies.ran == [line["moment"] for line in first] == ["undisturbed", "load"]
    list(grabs.run_grabs(studies, cap, CPU, moments=["load", "saving"], before=first))
    assert studies.ran == ["undisturbed", "load", "saving"]
    gone = [line | {"folder": str(tmp_path / "gone")} for line in first]
    list(grabs.run_grabs(studies, cap, CPU, moments=["training"], before=gone))
    assert studies.ran[3:] == ["undisturbed", "training"]


def test_tables_show_what_was_measured():
    trial = {"key": "0000", "state": "COMPLETE", "failures": []}
    study = {
        "kind": "study",
        "cap": "7b-24",
        "exit_status": 0,
        "seconds": 71.0,
        "peak_gib": 20.5,
        "free_gib": 24.0,
        "trials": [trial, trial],
        "arrangements": [{"slots": 2, "tokens_per_pass": 2048, "decoding_rows": 16}],
    }
    timings = [
        {"kind": "engine", "cap": "7b-24", "settings": name, "error": None, "tokens_per_second": rate}
        | {"arrangement": {"slots": 1}}
        for name, rate in (("default", 950.0), ("K1-T2048", 1000.0))
    ]
    table = as_markdown([study, *timings])
    assert "| 7b-24 | 0 | 71 | 20.5 / 24.0 | 2 COMPLETE |" in table and "| default | 950 | 95% |" in table
    assert "2 COMPLETE; 0 failed attempts" in study_line(study)
    assert "never came" in grab_line({"cap": "1b-12", "moment": "load", "grabbed": False})


def test_a_watch_of_a_cpu_reads_nothing():
    watch = DeviceWatch(CPU)
    with watch.sampling():
        pass
    assert (watch.before, watch.used, watch.peak) == (0, 0, 0)


def test_a_cell_survives_its_way_to_another_process():
    assert MemoryCell(**CELLS[0].as_data()) == CELLS[0]
