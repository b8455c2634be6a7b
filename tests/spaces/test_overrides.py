import pytest

from loratory.spaces.model import ComputeDtype
from loratory.spaces.samplers import SamplerName


def test_overrides_are_yaml_and_the_last_wins(load, study_text):
    study = load(
        study_text,
        "trials=3",
        "trials=5",
        "training.rank=4",
        "space.batch_size=[4, 8]",
        "model.compute_dtype=fp32",
        "packing.slots=4",
        "evaluation.metrics=[bleu]",
        "data.columns.instruction=question",
        "time_limit_minutes=1e1",
        "name= spaced ",
    )
    assert (study.trials, study.training.rank, study.name) == (5, 4, "spaced")
    assert study.packing.slots == 4
    assert study.space.root["batch_size"].choices == (4, 8)
    assert study.model.compute_dtype is ComputeDtype.FP32
    assert study.evaluation.metrics == ("bleu",)
    assert study.data.columns == {"instruction": "question"}
    assert study.time_limit_minutes == 10


def test_nothing_after_the_sign_is_null(load, study_text):
    study = load(study_text + "time_limit_minutes: 3\n", "time_limit_minutes=")
    assert study.time_limit_minutes is None


def test_a_key_below_a_sampler_that_stands_as_its_name_keeps_the_name(load, study_text):
    study = load(study_text + "sampler: cmaes\n", "sampler.startup_trials=3")
    assert (study.sampler.name, study.sampler.startup_trials) == (SamplerName.CMAES, 3)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("trials", "--set trials: must look like a.b=value"),
        ("=3", "--set =3: must look like a.b=value"),
        ("a..b=3", "--set a..b=3: must look like a.b=value"),
        ("trials=0", "--set trials=0: trials: must be >= 1, got 0"),
        (
            "trials=[",
            "--set trials=[: value must be valid YAML: expected the node content, but found '<stream end>'",
        ),
        ("traning.rank=3", "--set traning.rank=3: traning: unknown key: did you mean training?"),
        ("space.rank=[0]", "--set space.rank=[0]: space.rank: must be >= 1, got 0"),
        ("model={}", "--set model={}: model.base: is required and missing"),
        (
            "space.learning_rate.low=2",
            "study.yaml:8 with --set space.learning_rate.low=2: space.learning_rate: "
            "must have low <= high, got low=2 and high=0.001",
        ),
        (
            "name.x=3",
            "--set name.x=3: name must be a mapping of keys, got 'demo' (study.yaml:1): "
            "set the whole of name",
        ),
        (
            "training.learning_rate=1e-4",
            "--set training.learning_rate=1e-4: training.learning_rate: "
            "must not stand in both space and training, got 0.0001: keep one",
        ),
        (
            "sampler.name=rnadom",
            "--set sampler.name=rnadom: sampler.name: must be one of tpe, random, grid, cmaes, gp, nsga2, "
            "got 'rnadom': did you mean random?",
        ),
    ],
)
def test_a_bad_override_is_named(refusal, study_text, override, message):
    assert refusal(study_text, override) == message
