from dataclasses import replace

import pytest
import torch

from loratory.objectives.events import Start
from loratory.objectives.metrics.jobs import TextJobs
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.qlora.adapters.adapter import new_adapter
from loratory.objectives.qlora.base.architecture import read_architecture
from loratory.objectives.qlora.base.loading import load_base
from loratory.objectives.qlora.base.reference import resolve_base
from loratory.objectives.qlora.engine import build_engine
from loratory.objectives.qlora.memory.admission import Admission
from loratory.objectives.qlora.memory.engine_size import stack_size
from loratory.objectives.qlora.trial.arrivals import new_trial
from loratory.objectives.qlora.trial.trial import Selection
from loratory.objectives.qlora.verification.plain_evaluation import evaluate
from loratory.objectives.stopping import NeverStop
from loratory.spaces.metric_names import Direction

ADAPTERS = (
    {"rank": 4, "target_modules": ("q_proj", "v_proj", "down_proj")},
    {"rank": 2, "alpha": 8.0},
    {"rank": 8, "rank_stabilized": True, "target_modules": ("up_proj",)},
)

SELECTION = Selection(metric="loss", direction=Direction.MINIMIZE, rule=NeverStop())


@pytest.fixture(scope="module")
def study(make_study):
    return make_study(
        metric="rougeL",
        evaluation={"metrics": ["rougeL", "exact_match"]},
        packing={"slots": 3, "tokens_per_pass": 150},
        training={"rank": 8, "target_modules": "all-linear"},
    )


@pytest.fixture(scope="module")
def architecture(study):
    return read_architecture(resolve_base(study.model))


@pytest.fixture(scope="module")
def make_engine(study, architecture, data):
    def make(study=study):
        base = load_base(study.model, resolve_base(study.model))
        admission = Admission(
            study,
            data=data,
            stack=stack_size(study, architecture),
            device=base.device,
            dtype=base.compute_dtype,
            facts=None,
        )
        return build_engine(study, base=base, architecture=architecture, data=data, admission=admission)

    return make


@pytest.fixture(scope="module")
def shared_engine(make_engine):
    return make_engine()


@pytest.fixture
def engine(shared_engine):
    yield shared_engine
    for key in shared_engine.evaluator.waiting:
        shared_engine.evaluator.drop(key)
    for run in shared_engine.slots.training:
        run.close()
    shared_engine.slots.limit_passes(150)


@pytest.fixture(scope="module")
def adapters(architecture, study, make_trial):
    """Adapters with matrices that change the answers."""
    made = []
    for seed, options in enumerate(ADAPTERS):
        training = make_trial(study, **options).training
        targets = architecture.targets(training.target_modules)
        adapter = new_adapter(architecture.linear_layers, training=training, targets=targets, seed=seed)
        draw = torch.Generator().manual_seed(seed)
        state = {n: torch.randn(m.shape, generator=draw) * 0.15 for n, m in adapter.state.items()}
        made.append(replace(adapter, state=state))
    return made


@pytest.fixture(scope="module")
def expected(study, adapters, adapter_folder, data):
    """What plain PEFT makes of the base and of each adapter, on select."""
    from peft import PeftModel

    def base():
        return load_base(study.model, resolve_base(study.model))

    made = [evaluate(base(), study, data.select)]
    for adapter in adapters:
        folder = adapter_folder(adapter.files(adapter.state, base_name=None, revision=None))
        plain = base()
        adapted = replace(plain, model=PeftModel.from_pretrained(plain.model, str(folder)))
        made.append(evaluate(adapted, study, data.select))
    return made


def put(engine, adapters, examples):
    engine.evaluator.put_base("base", examples)
    for number, adapter in enumerate(adapters):
        engine.evaluator.put(number, adapter.state, examples, scaling=adapter.scaling)


def scored(evaluator, **options):
    return {key: evaluation() for key, evaluation in evaluator.scored(**options)}


def finish(evaluator):
    results = {}
    while evaluator.waiting:
        evaluator.advance()
        results |= scored(evaluator)
    return results


def assert_same(mine, theirs):
    assert mine.predictions == theirs.predictions
    assert mine.scores.aggregate == pytest.approx(theirs.scores.aggregate, rel=1e-5)
    assert mine.scores.example_ids == theirs.scores.example_ids
    assert mine.scores.metrics["loss"] == pytest.approx(theirs.scores.metrics["loss"], rel=1e-4)


def test_adapters_together_score_as_plain_peft_scores_each(engine, adapters, expected, data):
    put(engine, adapters, data.select)
    assert engine.evaluator.waiting == ("base", 0, 1, 2) and not engine.evaluator.has_room
    results = finish(engine.evaluator)
    for key, wanted in zip(("base", 0, 1, 2), expected, strict=True):
        assert_same(results[key], wanted)
    assert len({evaluation.predictions for evaluation in results.values()}) == 4
    assert engine.evaluator.has_room and not engine.evaluator.waiting


def test_what_is_dropped_leaves_the_others_alone_and_its_place_free(engine, adapters, expected, data):
    for passes in (0, 1, 5, 8):
        put(engine, adapters, data.select)
        for _ in range(passes):
            engine.evaluator.advance()
            assert engine.evaluator.scored() == []
        engine.evaluator.drop(1)
        engine.evaluator.drop("nobody")
        assert engine.evaluator.has_room
        adapter = adapters[0]
        engine.evaluator.put("again", adapter.state, data.select, scaling=adapter.scaling)
        results = finish(engine.evaluator)
        assert results.keys() == {"base", 0, 2, "again"}
        for key, wanted in (("base", 0), (0, 1), (2, 3), ("again", 1)):
            assert_same(results[key], expected[wanted])


def test_a_copy_is_scored_as_it_was_while_its_trial_trains_on(engine, make_trial, study, data):
    run = new_trial(
        Start(trial=make_trial(study, rank=8, learning_rate=3e-2)),
        architecture=engine.architecture,
        selection=SELECTION,
        train_examples=len(data.train),
        evaluations=1,
    )
    engine.slots.place(run)
    for _ in range(3):
        engine.slots.advance()

    def copy(key):
        engine.evaluator.copy(key, run.phase.slot, data.dev)

    copy("calm")
    calm = finish(engine.evaluator)["calm"]
    copy("busy")
    results = {}
    while not results:
        engine.slots.advance()
        engine.evaluator.advance()
        results = scored(engine.evaluator)
    assert_same(results["busy"], calm)
    copy("later")
    assert finish(engine.evaluator)["later"].scores.aggregate["loss"] != calm.scores.aggregate["loss"]


def test_gradients_after_decoding_are_those_of_training_alone(engine, adapters, make_trial, study, data):
    def gradients(*, between):
        run = new_trial(
            Start(trial=make_trial(study, rank=8)),
            architecture=engine.architecture,
            selection=SELECTION,
            train_examples=len(data.train),
            evaluations=1,
        )
        engine.slots.limit_passes(100)
        engine.slots.place(run)
        made = []
        for _ in range(4):
            engine.slots.advance()
            made.append(engine.slots.pack.gradients.flat.clone())
            if between:
                engine.evaluator.advance()
        run.close()
        engine.slots.collect_results()
        return made

    alone = gradients(between=False)
    put(engine, adapters, data.select)
    finish(engine.evaluator)
    put(engine, adapters, data.select)
    assert all(map(torch.equal, gradients(between=True), alone))
    assert alone[0].any()


def test_losses_that_ran_out_of_memory_are_computed_again(engine, adapters, expected, data, monkeypatch):
    real, raised = PackedModel.losses, []

    def tight(self, inputs):
        if inputs.shape.tokens > 120:
            raised.append(inputs.shape.tokens)
            raise torch.OutOfMemoryError("too much")
        return real(self, inputs)

    put(engine, adapters, data.select)
    monkeypatch.setattr(PackedModel, "losses", tight)
    with pytest.raises(torch.OutOfMemoryError):
        engine.evaluator.advance()
    monkeypatch.setattr(engine.slots, "tokens_per_pass", 80)
    results = finish(engine.evaluator)
    assert raised
    for key, wanted in zip(("base", 0, 1, 2), expected, strict=True):
        assert_same(results[key], wanted)


def test_texts_are_scored_while_the_device_goes_on(engine, adapters, expected, data, monkeypatch):
    monkeypatch.setattr(engine.evaluator, "_jobs", TextJobs(apart=True))
    evaluator = engine.evaluator
    put(engine, adapters, data.select)
    evaluator.drop(2)
    while evaluator.waiting:
        evaluator.advance()
    assert evaluator.scores_texts and evaluator.has_room and all(key in evaluator for key in ("base", 0, 1))
    evaluator.drop(1)
    assert 1 not in evaluator and 2 not in evaluator
    evaluator.put(2, adapters[2].state, data.select, scaling=adapters[2].scaling)
    results = {}
    while evaluator.waiting or evaluator.scores_texts:
        evaluator.advance()
        results |= scored(evaluator, wait_seconds=0.05)
    assert results.keys() == {"base", 0, 2}
    for key, wanted in (("base", 0), (0, 1), (2, 3)):
        assert_same(results[key], expected[wanted])


def test_nothing_is_decoded_where_loss_is_all_that_is_asked(
    make_engine, make_study, adapters, expected, data
):
    packing, training = {"slots": 3}, {"rank": 8, "target_modules": "all-linear"}
    engine = make_engine(make_study(packing=packing, training=training))
    put(engine, adapters, data.select)
    results = finish(engine.evaluator)
    for key, wanted in zip(("base", 0, 1, 2), expected, strict=True):
        assert results[key].predictions == () and set(results[key].scores.aggregate) == {"loss"}
        assert results[key].scores.aggregate["loss"] == pytest.approx(wanted.scores.aggregate["loss"])
