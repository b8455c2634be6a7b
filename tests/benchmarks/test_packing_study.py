"""The whole-study benchmark: its list of trials, its files, both sides on a tiny model, and its table."""

import json
import time
from collections import Counter

import pytest
import torch
from packing_cells.shapes import ModelShape
from packing_cells.study_files import tokenizer, write_base, write_data
from packing_cells.study_ours import prepare, record_trials, write_study
from packing_cells.study_plan import (
    EVALUATIONS,
    StudySize,
    plan_of,
    reference_trials,
    size_of,
    study_file,
    trial_list,
    updates_of,
)
from packing_cells.study_table import as_data, as_markdown, scaled
from packing_cells.study_trace import read_trace, summarize_trace
from packing_cells.study_trainer import TrainerStudy
from packing_cells.study_worker import TRACE, TracedHost

from loratory.objectives.events import Finished, Start
from loratory.objectives.objective import Beginning
from loratory.objectives.qlora.device_work import DeviceWork
from loratory.objectives.qlora.scoring.measurements import Measurements
from loratory.objectives.qlora.slots import Slots
from loratory.objectives.qlora.trial.plan import Plan
from loratory.objectives.study_folder import StudyFolder
from loratory.search.manifest import open_manifest
from loratory.search.optuna_rows import open_rows
from loratory.spaces.trial import resolve_trial

CPU = torch.device("cpu")
SMALL = ModelShape(
    name="small",
    layers=1,
    hidden=64,
    intermediate=128,
    heads=4,
    key_value_heads=2,
    vocabulary=300,
    positions=128,
    tied=True,
)
SIZE = StudySize(train=24, dev=3, select=5, prompt_tokens=12, answer_tokens=6, updates=(4, 5), at_once=2)
TRIALS = trial_list(2, SIZE)


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Folder, study and prepared data of a study of two trials."""
    folder = tmp_path_factory.mktemp("study")
    write_base(folder / "base", SMALL, device=CPU)
    write_data(folder / "data", SIZE, vocabulary=SMALL.vocabulary)
    content = study_file(
        "study",
        trials=TRIALS,
        size=SIZE,
        base=folder / "base",
        data=folder / "data",
        storage=folder / "trials.db",
        slots=2,
    )
    write_study(folder / "study.yaml", content)
    return folder, *prepare(folder / "study.yaml")


def test_the_list_is_fixed_and_mixes_what_trials_differ_in():
    size = size_of("1b")
    trials = trial_list(32, size)
    assert trials == trial_list(32, size)
    assert trials[:4] == trial_list(4, size)
    assert len({json.dumps(trial) for trial in trials}) == 32
    assert Counter(trial["batch_size"] for trial in trials) == {4: 11, 8: 11, 16: 10}
    assert {(trial["batch_size"], updates_of(trial, size)) for trial in trials} == {
        (batch, updates) for batch in (4, 8, 16) for updates in (40, 60, 80)
    }


def test_epochs_give_the_updates_of_the_list(files):
    _, study, _ = files
    for shape in ("1b", "tiny"):
        size = size_of(shape)
        for trial in trial_list(32, size):
            plan = Plan(training=study.resolve(trial), seed=0, train_examples=size.train, evaluations=4)
            assert plan.optimizer_steps == updates_of(trial, size)


@pytest.mark.parametrize(
    ("count", "batches"), [(1, [4]), (4, [4, 4, 8, 16]), (32, [4] * 11 + [8] * 11 + [16] * 10)]
)
def test_trials_that_stand_for_all_have_every_batch_size(count, batches):
    trials = trial_list(32, size_of("1b"))
    chosen = reference_trials(trials, count)
    assert len(set(chosen)) == count
    assert sorted(trials[number]["batch_size"] for number in chosen) == batches


def test_all_examples_have_the_lengths_of_the_plan(files):
    _, _, prepared = files
    data = prepared.payload.data
    assert (len(data.train), len(data.dev), len(data.select)) == (SIZE.train, SIZE.dev, SIZE.select)
    for example in (*data.train, *data.dev, *data.select):
        assert (len(example.prompt_ids), len(example.answer_ids)) == (SIZE.prompt_tokens, SIZE.answer_tokens)
        assert example.answer_ids[-1] == 0


def test_no_special_token_can_be_the_likeliest(files):
    from transformers import AutoModelForCausalLM

    folder, *_ = files
    model = AutoModelForCausalLM.from_pretrained(folder / "base")
    hidden = 100 * torch.randn(5000, SMALL.hidden)
    logits = hidden @ model.get_output_embeddings().weight.T
    assert (logits.argmax(dim=-1) > 2).all()
    assert tokenizer(SMALL.vocabulary).decode([3, 299]) == "w3 w299"


def test_recorded_trials_are_rows_that_the_driver_takes_up(files, tmp_path):
    _, study, prepared = files
    folder = StudyFolder(tmp_path / "runs" / "study")
    record_trials(folder, study, prepared, TRIALS)
    rows = open_rows(folder, open_manifest(folder, study, prepared, Beginning.now()))
    assert [row.params for row in rows.get_trials()] == TRIALS
    assert {row.state.name for row in rows.get_trials()} == {"RUNNING"}


def test_a_traced_worker_runs_the_trials_and_its_trace_tells_how(files, tmp_path, monkeypatch):
    _, study, prepared = files
    monkeypatch.setenv(TRACE, str(tmp_path / "trace.jsonl"))
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TOKENIZERS_PARALLELISM"):
        monkeypatch.setenv(name, "1")
    for owner, name in (
        (DeviceWork, "_train"),
        (DeviceWork, "_score"),
        (Slots, "place"),
        (Measurements, "_snapshot"),
        (Measurements, "_report"),
        (Measurements, "_finish"),
    ):
        monkeypatch.setattr(owner, name, getattr(owner, name))  # the worker wraps them
    host = TracedHost(study, prepared)
    starts = [
        Start(trial=resolve_trial(study, number=number, attempt=1, sampled=trial))
        for number, trial in enumerate(TRIALS)
    ]
    finished, until = [], time.monotonic() + 60
    while len(finished) < 2 and time.monotonic() < until:
        reply = host.exchange(starts, 0.5)
        assert reply.broken is None
        finished += [event for event in reply.events if isinstance(event, Finished)]
        starts = []
    host.close()
    for event in finished:
        assert [len(p.prediction.split()) for p in event.predictions] == [SIZE.answer_tokens] * SIZE.select
    summary = summarize_trace(read_trace(tmp_path / "trace.jsonl"))
    assert summary["trials"] == 2
    assert summary["passes"] >= 5
    assert summary["pieces_of_scoring"] > 0
    assert 0 < summary["mean_slots"] <= 2
    assert summary["makespan_seconds"] == pytest.approx(
        sum(summary[f"{name}_seconds"] for name in ("training", "scoring", "other"))
    )


def test_the_trainer_runs_a_trial_and_leaves_the_base_as_it_was(files):
    folder, _, prepared = files
    study = TrainerStudy(folder / "base", prepared.payload.data, size=SIZE, device=CPU)
    before = [name for name, _ in study._model.named_parameters()]
    measured = study.run(TRIALS[1], seed=1)
    assert measured["updates"] == updates_of(TRIALS[1], SIZE)
    assert all(measured[f"{name}_seconds"] > 0 for name in ("setup", "training", "dev", "select"))
    assert [name for name, _ in study._model.named_parameters()] == before


def test_evaluations_of_the_trainer_stand_where_the_plan_has_them(files, monkeypatch):
    folder, _, prepared = files
    study = TrainerStudy(folder / "base", prepared.payload.data, size=SIZE, device=CPU)
    sizes = []
    monkeypatch.setattr(study, "_evaluate", lambda model, examples: sizes.append(len(examples)))
    study.run(TRIALS[0], seed=0)
    assert sizes == [SIZE.dev] * EVALUATIONS + [SIZE.select]


TRACE_LINES = [
    {"kind": "ready", "at": 0.0, "slots": 3, "notes": ["pack: 2 trials"]},
    {"kind": "score", "at": 0.0, "seconds": 5.0, "slots": 0, "of": 3, "waiting": 1},
    {"kind": "started", "at": 10.0, "number": 0},
    {"kind": "train", "at": 10.0, "seconds": 4.0, "slots": 2, "of": 3, "waiting": 0},
    {"kind": "copy", "at": 14.0, "seconds": 0.5, "slots": 2, "of": 3, "waiting": 0},
    {"kind": "copy", "at": 14.5, "seconds": 0.25, "slots": 2, "of": 3, "waiting": 0},
    {"kind": "score", "at": 15.0, "seconds": 10.0, "slots": 1, "of": 3, "waiting": 2},
    {"kind": "started", "at": 20.0, "number": 1},
    {"kind": "finished", "at": 28.0, "number": 1},
    {"kind": "finished", "at": 30.0, "number": 0},
]


def test_a_trace_tells_shares_and_slots_between_first_start_and_last_end():
    summary = summarize_trace(TRACE_LINES)
    assert summary["makespan_seconds"] == 20.0
    assert summary["known_seconds"] == {"place": 0, "copy": 0.75, "report": 0, "finish": 0}
    assert (summary["training_seconds"], summary["scoring_seconds"], summary["other_seconds"]) == (4, 10, 6)
    assert summary["mean_slots"] == pytest.approx((5 * 2 + 15 * 1) / 20)
    assert summary["slots_over_time"] == [2.0] * 5 + [1.0] * 15
    assert summary["busy_share"] == pytest.approx((5 * 2 + 5 * 1) / 10 / 3)


def test_traces_of_several_workers_are_told_as_one_study():
    one = [{**line, "worker": "a"} for line in TRACE_LINES]
    other = [{**line, "worker": "b"} for line in TRACE_LINES if line["kind"] in ("ready", "train")]
    other.append({"kind": "started", "at": 8.0, "number": 2, "worker": "b"})
    other.append({"kind": "finished", "at": 12.0, "number": 2, "worker": "b"})
    summary = summarize_trace([*one, *other])
    assert (summary["workers"], summary["trials"], summary["trials_at_once"]) == (2, 3, 6)
    assert (summary["makespan_seconds"], summary["passes"]) == (22.0, 2)
    assert (summary["training_seconds"], summary["scoring_seconds"], summary["other_seconds"]) == (4, 5, 13)
    assert summary["mean_slots"] == pytest.approx((5 * 2 + 15 * 1 + 20 * 2) / 22)
    assert summary["busy_share"] == pytest.approx((5 * 2 + 5 * 1 + 10 * 2) / 12 / 6)


def test_a_worker_that_did_nothing_counts_no_slots():
    idle = {"kind": "ready", "at": 0.0, "slots": 3, "notes": [], "worker": "b"}
    summary = summarize_trace([*TRACE_LINES, idle])
    assert summary["training_seconds"] == 2
    assert summary["mean_slots"] == pytest.approx((5 * 2 + 15 * 1) / 20)


MEASURED = [
    {
        "trial": {"batch_size": batch},
        "updates": 10,
        "training_seconds": seconds,
        "dev_seconds": 4.0,
        "select_seconds": 2.0,
        "setup_seconds": 1.0,
        "load_seconds": 7.0,
    }
    for batch, seconds in ((4, 10.0), (8, 20.0))
]


def test_measured_trials_are_scaled_by_updates_and_evaluations():
    trials = [{"batch_size": batch, "epochs": 10 * batch / SIZE.train} for batch in (4, 4, 8, 16)]
    whole = scaled(MEASURED, trials, SIZE)
    assert whole["training_seconds"] == pytest.approx(10 * (1 + 1 + 2 + 1.5))
    assert (whole["scoring_seconds"], whole["other_seconds"]) == (4 * 6, 4)
    assert whole["makespan_seconds"] == pytest.approx(55 + 24 + 4)
    assert whole["total_seconds"] == pytest.approx(55 + 24 + 4 + 7)


def test_the_table_compares_both_sides_and_says_what_was_scaled():
    machine = {"device": "made up"}
    ours = {**summarize_trace(TRACE_LINES), "total_seconds": 40.0, "short_answers": 0}
    lines = [
        {"side": "ours", "measured": ours, "machine": machine},
        *(
            {"side": "trainer", "number": n, "measured": m, "machine": machine}
            for n, m in enumerate(MEASURED)
        ),
    ]
    trials = [{"batch_size": 4, "epochs": 40 / SIZE.train}] * 4
    data = json.loads(json.dumps(as_data(lines, trials, SIZE)))
    assert data["trainer_over_ours"] == pytest.approx((4 * 10 + 24 + 4) / 20)
    text = as_markdown(data, plan_of("tiny", trials, SIZE))
    assert "| loratory run | 20.0 | 4.0 (20%) | 10.0 (50%) | 6.0 (30%) | 40.0 | 1.2 |" in text
    assert "2 of 4 trials were measured and the rest scaled" in text
    assert "3.4 times as long" in text
    assert "| loratory run |" not in as_markdown(as_data(lines[1:], trials, SIZE), plan_of("t", trials, SIZE))
