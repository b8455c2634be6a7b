import copy

import jsonschema
import pytest
import yaml

from loratory.spaces.schema import study_schema
from loratory.spaces.starter import starter_study
from loratory.spaces.training import TrainingParameters


@pytest.fixture(scope="module")
def validator():
    schema = study_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


@pytest.fixture
def document(study_text):
    # Numbers as an editor's YAML 1.2 reads them.
    document = yaml.safe_load(study_text)
    document["space"]["learning_rate"] |= {"low": 1e-5, "high": 1e-3}
    return copy.deepcopy(document)


GOOD = [
    {},
    {"sampler": "tpe", "pruner": {"name": "hyperband"}},
    {"space": {"rank": [4, 8], "target_modules": [["q_proj"], "all-linear"]}},
    {"space": {"rank": {"type": "int", "low": 4, "high": 64, "step": None}}},
    {"evaluation": {"metrics": ["bleu", "token_f1"]}, "time_limit_minutes": None},
    {"tracking": {"wandb": {"mode": "off"}}},
    {"packing": {"slots": 8, "tokens_per_pass": None, "cache_base": True}},
    {"packing": {"optimizer_bits": 8, "offload_optimizer": True}},
    {"packing": {"cache_base": None}, "model": {"base": "some/model", "allow_unquantized_experts": True}},
]
BAD = [
    {"nmae": "x"},
    {"metric": "rouge"},
    {"evaluation": {"metrics": ["rouge"]}},
    {"sampler": "tpee"},
    {"sampler": {"name": "tpee"}},
    {"pruner": {"patiance": 3}},
    {"space": {}},
    {"space": {"rank": []}},
    {"space": {"lr": [1e-4]}},
    {"space": {"rank": {"low": 4, "high": 8}}},
    {"space": {"rank": {"type": "integer", "low": 4, "high": 8}}},
    {"space": {"rank": 8}},
    {"training": {"rank": 0}},
    {"training": {"rank": 100000}},
    {"training": {"max_grad_norm": 0}},
    {"early_stopping_patience": 0},
    {"packing": {"slots": 257}},
    {"packing": {"tokens_per_pass": 15}},
    {"packing": {"cache_base": "always"}},
    {"packing": {"optimizer_bits": 16}},
    {"model": {"base": "some/model", "micro_batch_size": 4}},
    {"trials": "many"},
    {"name": "a/b"},
]


@pytest.mark.parametrize("change", GOOD, ids=str)
def test_accepts_what_the_loader_accepts(validator, load, document, change):
    validator.validate(document | change)
    load(yaml.safe_dump(document | change))


@pytest.mark.parametrize("change", BAD, ids=str)
def test_refuses_what_the_loader_refuses(validator, refusal, document, change):
    assert not validator.is_valid(document | change)
    assert refusal(yaml.safe_dump(document | change))


def test_accepts_the_starter(validator):
    validator.validate(yaml.safe_load(starter_study("demo").replace("1e-", "1.0e-")))


def test_editors_can_complete_and_explain_every_hyperparameter():
    properties = study_schema()["$defs"]["SearchSpace"]["properties"]
    assert set(properties) == set(TrainingParameters.model_fields)
    assert all(value["description"] for value in properties.values())
