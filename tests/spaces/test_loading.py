import time

import pytest

from loratory.spaces import InputError, load_study
from loratory.spaces.pruners import PrunerName
from loratory.spaces.samplers import SamplerName

METRICS = (
    "loss, bleu, chrf, rouge1, rouge2, rougeL, rougeLsum, token_f1, exact_match, rouge_score_1, "
    "rouge_score_2, rouge_score_L, rouge_score_Lsum, squad_f1, squad_exact_match, accuracy, macro_f1"
)
SCHEDULES = "cosine, linear, constant, cosine_nonzero_start, linear_nonzero_start, constant_nonzero_start"
CODE = "must be a code of ISO 639-1, such as en, zh or ja, or null"
FILE = "evaluation.bleu_tokenizer_file: must"
SAMPLERS = "tpe, random, grid, cmaes, gp, nsga2"
TYPES = "must have a type: float, int or categorical (or be a plain list of choices)"

QUANTIZED_BY = "model.quantization says how the base is quantised: nf4 (by bitsandbytes) or none"
NO_LORA_PLUS = "must be left out where no trial has optimizer lora_plus: set training.optimizer to it"

# What is appended to the valid study, and the one line that refuses it.
APPENDED = {
    "quantization: gptq": f"study.yaml:9: quantization: unknown key: {QUANTIZED_BY}",
    "training: {load_in_8bit: true}": f"study.yaml:9: training.load_in_8bit: unknown key: {QUANTIZED_BY}",
    "training:\n  optimizer: sgd": (
        "study.yaml:10: training.optimizer: must be one of adamw, lora_plus, got 'sgd'"
    ),
    "training:\n  optimizer: LoRA-Plus": (
        "study.yaml:10: training.optimizer: must be one of adamw, lora_plus, got 'LoRA-Plus'"
        ": did you mean lora_plus?"
    ),
    "training:\n  optim: adamw": "study.yaml:10: training.optim: unknown key: did you mean optimizer?",
    "  optimizer: [adamw, sgd]": (
        "study.yaml:9: space.optimizer: must be one of adamw, lora_plus, got 'sgd'"
    ),
    "training:\n  optimizer: lora_plus\n  lora_plus_ratio: 0": (
        "study.yaml:11: training.lora_plus_ratio: must be > 0, got 0"
    ),
    "training:\n  lora_plus_ratio: 16": f"study.yaml:10: training.lora_plus_ratio: {NO_LORA_PLUS}",
    "  lora_plus_ratio: [2, 8]": f"study.yaml:9: space.lora_plus_ratio: {NO_LORA_PLUS}",
    "  lora_plus_ratio: [2, 8]\n  optimizer: [adamw]": (
        f"study.yaml:9: space.lora_plus_ratio: {NO_LORA_PLUS}"
    ),
    "metirc: bleu": "study.yaml:9: metirc: unknown key: did you mean metric?",
    "lr: 1": "study.yaml:9: lr: unknown key: it belongs in training as learning_rate",
    "rank: 8": "study.yaml:9: rank: unknown key: it belongs in training",
    "reduction_factor: 3": "study.yaml:9: reduction_factor: unknown key: it belongs in pruner",
    "training:\n  lr: 1": "study.yaml:10: training.lr: unknown key: did you mean learning_rate?",
    "training:\n  r: 0": "study.yaml:10: training.r: unknown key: did you mean rank?",
    "toy:\n  faults: {crahs: 1}": "study.yaml:10: toy.faults.crahs: unknown key: did you mean crash?",
    "tracking: {zzz: 1}": "study.yaml:9: tracking.zzz: unknown key; known are tensorboard, wandb",
    "name: again": "study.yaml:9: key name stands twice (first on line 1): remove one",
    "  rank: [4]\n  rank: [8]": "study.yaml:10: key space.rank stands twice (first on line 9): remove one",
    "1: 2": "study.yaml:9: a key must be text, got '1': put it in quotes",
    "training:\n  rank: 0": "study.yaml:10: training.rank: must be >= 1, got 0",
    "training:\n  rank: -8": "study.yaml:10: training.rank: must be >= 1, got -8",
    "training:\n  rank: 100000": "study.yaml:10: training.rank: must be <= 1024, got 100000",
    "training:\n  rank: 8.5": "study.yaml:10: training.rank: must be a whole number, got 8.5",
    "training:\n  rank: true": "study.yaml:10: training.rank: must be a number, not true or false, got true",
    "training:\n  epochs: .inf": "study.yaml:10: training.epochs: must be a finite number, got inf",
    "training:\n  epochs: many": "study.yaml:10: training.epochs: must be a number, got 'many'",
    "training:\n  learning_rate: 0.3": (
        "study.yaml:10: training.learning_rate: must not stand in both space and training, got 0.3: keep one"
    ),
    "training:\n  dropout: 1": "study.yaml:10: training.dropout: must be < 1, got 1",
    "training:\n  max_grad_norm: 0": "study.yaml:10: training.max_grad_norm: must be > 0, got 0",
    "training:\n  schedule: cosin": (
        f"study.yaml:10: training.schedule: must be one of {SCHEDULES}, got 'cosin': did you mean cosine?"
    ),
    "training:\n  rank_stabilized: 3": (
        "study.yaml:10: training.rank_stabilized: must be true or false, got 3"
    ),
    "training:\n  target_modules: 3": (
        "study.yaml:10: training.target_modules: must be text or a list, got 3: put it in quotes"
    ),
    "training:\n  target_modules: [q_proj, 3]": (
        "study.yaml:10: training.target_modules.1: must be text, got 3: put it in quotes"
    ),
    "training:": "study.yaml:9: training: must be a mapping of keys, got null",
    "  rank: {type: int, low: 0, high: 8}": "study.yaml:9: space.rank: must be >= 1, got 0",
    "  rank: [4, 100000]": "study.yaml:9: space.rank: must be <= 1024, got 100000",
    "  rank: [4, a]": "study.yaml:9: space.rank: must be a whole number, got 'a'",
    "  rank: []": "study.yaml:9: space.rank: must have at least 1 item, got []",
    "  rank: [8, 8]": "study.yaml:9: space.rank: must have distinct choices, got 8 more than once",
    "  rank: 8": f"study.yaml:9: space.rank: {TYPES}, got 8; what is fixed goes in training",
    "  rank: {low: 1, high: 8}": f"study.yaml:9: space.rank: {TYPES}, got none",
    "  rank: {type: integer, low: 1, high: 8}": (
        f"study.yaml:9: space.rank: {TYPES}, got 'integer': did you mean int?"
    ),
    "  rank: {type: int, low: 1}": "study.yaml:9: space.rank.high: is required and missing",
    "  rank: {type: int, low: 1, high: 8, hihg: 8}": (
        "study.yaml:9: space.rank.hihg: unknown key: did you mean high?"
    ),
    "  rank: {type: float, low: 1, high: 8}": (
        "study.yaml:9: space.rank: takes whole numbers: must be of type int, got type float"
    ),
    "  rank_stabilized: {type: int, low: 0, high: 1}": (
        "study.yaml:9: space.rank_stabilized: takes true or false: write a list of choices, got type int"
    ),
    "  dropout: {type: float, low: 0, high: 1}": "study.yaml:9: space.dropout: must be < 1, got 1.0",
    "  dropout: {type: float, low: 0.2, high: 0.1}": (
        "study.yaml:9: space.dropout: must have low <= high, got low=0.2 and high=0.1"
    ),
    "  dropout: {type: float, low: 0, high: 0.1, log: true}": (
        "study.yaml:9: space.dropout: must have low > 0 on a log scale, got low=0"
    ),
    "  dropout: {type: float, low: 0.1, high: 0.2, step: 0}": (
        "study.yaml:9: space.dropout.step: must be > 0, got 0"
    ),
    "  dropout: {type: float, low: 0, high: 0.1, step: 0.03}": (
        "study.yaml:9: space.dropout: must reach high from low in whole steps, "
        "got low=0, high=0.1, step=0.03: high=0.09 would do"
    ),
    "  batch_size: {type: int, low: 4, high: 64, log: true, step: 4}": (
        "study.yaml:9: space.batch_size: must not have both log and step, "
        "got log=true and step=4: leave one out"
    ),
    "  lr: [1e-4]": "study.yaml:9: space.lr: is not a hyperparameter: did you mean learning_rate?",
    "  lora_alpha: [8]": "study.yaml:9: space.lora_alpha: is not a hyperparameter: did you mean alpha?",
    "  zzz: [8]": (
        "study.yaml:9: space.zzz: is not a hyperparameter; known are alpha, batch_size, dropout, epochs, "
        "learning_rate, lora_plus_ratio, max_grad_norm, optimizer, rank, rank_stabilized, schedule, "
        "target_modules, warmup, weight_decay"
    ),
    "  schedule: [cosine, lineer]": (
        f"study.yaml:9: space.schedule: must be one of {SCHEDULES}, got 'lineer': did you mean linear?"
    ),
    "sampler: tpee": f"study.yaml:9: sampler: must be one of {SAMPLERS}, got 'tpee': did you mean tpe?",
    "sampler:\n  name: CMA-ES\n  x: 1": (
        f"study.yaml:10: sampler.name: must be one of {SAMPLERS}, got 'CMA-ES': did you mean cmaes?\n"
        "study.yaml:11: sampler.x: unknown key; known are name, population_size, startup_trials"
    ),
    "pruner: asha": (
        "study.yaml:9: pruner: must be one of median, percentile, hyperband, successive_halving, patient, "
        "none, got 'asha': did you mean successive_halving?"
    ),
    "pruner: 3": "study.yaml:9: pruner: must be a mapping of keys, got 3",
    "pruner: {name: hyperband, min_evaluations: 9}": (
        "study.yaml:9: pruner.min_evaluations: must be <= evaluation.evaluations (4), got 9"
    ),
    "sampler: grid": (
        "study.yaml:8: space.learning_rate: must have a step for sampler grid, or be a list of choices"
    ),
    "evaluation:\n  metrics:\n  - bleu\n  - rouge": (
        f"study.yaml:12: evaluation.metrics.1: must be one of {METRICS}, got 'rouge': did you mean rougeL?"
    ),
    "evaluation: {metrics: [macro_f1]}": (
        "study.yaml:9: evaluation.metrics.0: macro_f1 needs labels: set data.task: classification"
    ),
    "evaluation: {language: jp}": f"study.yaml:9: evaluation.language: {CODE}, got 'jp': did you mean ja?",
    "evaluation: {language: Japanese}": (
        f"study.yaml:9: evaluation.language: {CODE}, got 'Japanese': did you mean ja?"
    ),
    "evaluation: {language: zh-CN}": (
        f"study.yaml:9: evaluation.language: {CODE}, got 'zh-CN': did you mean zh?"
    ),
    "evaluation: {language: ''}": f"study.yaml:9: evaluation.language: {CODE}, got ''",
    "evaluation: {bleu_tokenizer: moses}": (
        "study.yaml:9: evaluation.bleu_tokenizer: must be one of auto, 13a, intl, char, zh, ja-mecab, "
        "ko-mecab, flores101, flores200, spm, none, got 'moses'"
    ),
    "evaluation: {bleu_tokenizer: flores200}": (
        f"study.yaml:9: {FILE} name the SentencePiece model of bleu_tokenizer flores200; it is never fetched"
    ),
    "evaluation: {bleu_tokenizer_file: a.model}": (
        f"study.yaml:9: {FILE} be left out unless bleu_tokenizer is flores101, flores200 or spm, "
        "got 'a.model'"
    ),
    "evaluation: {extract: '('}": (
        "study.yaml:9: evaluation.extract: must be a regular expression of Python (missing ), unterminated "
        "subpattern at position 0), got '('"
    ),
    r"evaluation: {extract: '\d*'}": (
        r"study.yaml:9: evaluation.extract: must not match an empty text, got '\\d*'"
    ),
    "direction: minimize": ("study.yaml:9: direction: follows from metric rougeL (maximize); remove the key"),
    "direction: maximize": ("study.yaml:9: direction: follows from metric rougeL (maximize); remove the key"),
    "toy: {}": "study.yaml:9: toy: must not be there for objective qlora: remove it",
    "trials: 0": "study.yaml:9: trials: must be >= 1, got 0",
    "trials: yes": "study.yaml:9: trials: must be a whole number, got 'yes'",
    "seed: -1": "study.yaml:9: seed: must be >= 0, got -1",
    "early_stopping_patience: 0": "study.yaml:9: early_stopping_patience: must be >= 1, got 0",
    "time_limit_minutes: 0": "study.yaml:9: time_limit_minutes: must be > 0, got 0",
    "resources: {gpus_per_worker: 1.5}": (
        "study.yaml:9: resources.gpus_per_worker: must be at most 1, got 1.5: a worker uses one GPU, the "
        "others would idle; leave the key out for a worker on every GPU, or choose a base that fits one"
    ),
    "tracking: {wandb: {project: team/llm}}": (
        "study.yaml:9: tracking.wandb.project: must be free of / \\ # ? % : and line breaks, got 'team/llm': "
        "write entity: team and project: llm"
    ),
    "tracking: {wandb: {project: 'a:b', entity: 'https://wandb.ai/me', tags: [ok, '']}}": (
        "study.yaml:9: tracking.wandb.project: must be free of / \\ # ? % : and line breaks, got 'a:b'\n"
        "study.yaml:9: tracking.wandb.entity: must be free of / \\ # ? % : @ , ; ' \" and line breaks, got "
        "'https://wandb.ai/me': write the name of a user or team alone\n"
        "study.yaml:9: tracking.wandb.tags.1: must be 1 to 64 characters, got 0"
    ),
    "packing: {slots: 0, tokens_per_pass: true}": (
        "study.yaml:9: packing.slots: must be >= 1, got 0\n"
        "study.yaml:9: packing.tokens_per_pass: must be a number, not true or false, got true"
    ),
    "packing: {slot: 4}": "study.yaml:9: packing.slot: unknown key: did you mean slots?",
    "packing: {micro_batch_size: 4}": (
        "study.yaml:9: packing.micro_batch_size: unknown key: did you mean tokens_per_pass?"
    ),
    "tracking: {wandb: {mode: on}}": (
        "study.yaml:9: tracking.wandb.mode: must be one of auto, online, offline, off, got 'on'"
    ),
    "tracking: {wandb: online}": "study.yaml:9: tracking.wandb: must be a mapping of keys, got 'online'",
    "evaluation: {evaluations: 0, dev_examples: x}": (
        "study.yaml:9: evaluation.evaluations: must be >= 1, got 0\n"
        "study.yaml:9: evaluation.dev_examples: must be a whole number, got 'x'"
    ),
    '"a\\nb": 1': (
        "study.yaml:9: a\\nb: unknown key; known are attempts, confirmation, data, early_stopping, "
        "early_stopping_patience, evaluation, metric, model, name, objective, packing, pruner, resources, "
        "sampler, seed, space, "
        "storage, time_limit_minutes, toy, tracking, training, trials"
    ),
    f"storage: [{', '.join(['abcdefgh'] * 20)}]": (
        f"study.yaml:9: storage: must be text, got {str(['abcdefgh'] * 20)[:77]}..."
    ),
}


@pytest.mark.parametrize("appended", APPENDED)
def test_what_is_added_to_a_valid_file_is_refused_in_one_line(refusal, study_text, appended):
    assert refusal(f"{study_text}{appended}\n") == APPENDED[appended]


# What is replaced in the valid study, and the line that refuses it.
REPLACED = {
    ("metric: rougeL", "metric: rouge"): (
        f"study.yaml:2: metric: must be one of {METRICS}, got 'rouge': did you mean rougeL?"
    ),
    ("metric: rougeL", "metric: ROUGE-2"): (
        f"study.yaml:2: metric: must be one of {METRICS}, got 'ROUGE-2': did you mean rouge2?"
    ),
    ("metric: rougeL", "metric: f1"): (
        f"study.yaml:2: metric: must be one of {METRICS}, got 'f1': did you mean token_f1?"
    ),
    ("metric: rougeL", "metric: meteor"): f"study.yaml:2: metric: must be one of {METRICS}, got 'meteor'",
    ("  train: train.jsonl", "  {train: t.jsonl, task: classification}\nevaluation: {extract: x}"): (
        "study.yaml:7: evaluation.extract: must be left out with data.task classification, whose labels are "
        "whole answers, got 'x'"
    ),
    ("metric: rougeL", "metric: accuracy"): (
        "study.yaml:2: metric: accuracy needs labels: set data.task: classification"
    ),
    ("metric: rougeL", "metric: [bleu, rougeL]"): (
        "study.yaml:2: metric: must be text, got ['bleu', 'rougeL']"
    ),
    ("name: demo", "name: a/b"): (
        "study.yaml:1: name: must be letters, digits, `.`, `_` and `-`, at most 100, beginning with a letter "
        "or digit, got 'a/b'"
    ),
    ("name: demo", "name: 3"): ("study.yaml:1: name: must be text, got 3: put it in quotes"),
    ("name: demo\n", ""): "study.yaml:1: name: is required and missing",
    ("name: demo", "objective: toy"): ("study.yaml:1: name: is required and missing"),
    ("name: demo", "name: demo\nobjective: toy"): (
        "study.yaml:4: model: must not be there for objective toy: remove it"
    ),
    ("name: demo", "name: demo\nobjective: lora"): (
        "study.yaml:2: objective: must be one of qlora, toy, got 'lora': did you mean qlora?"
    ),
    ("model:\n  base: some/model\n", ""): (
        "study.yaml:1: model: is required for objective qlora and missing"
    ),
    ("base: some/model", "base: ''"): "study.yaml:4: model.base: must not be empty, got ''",
    ("base: some/model", "base: some/model\n  quantization: int3"): (
        "study.yaml:5: model.quantization: must be one of nf4, none, got 'int3'"
    ),
    ("base: some/model", "base: some/model\n  quantization: null"): (
        "study.yaml:5: model.quantization: must be one of nf4, none, got null: did you mean none?"
    ),
    ("base: some/model", "base: some/model\n  quantization_config: {bits: 4}"): (
        f"study.yaml:5: model.quantization_config: unknown key: {QUANTIZED_BY}"
    ),
    ("base: some/model", "base: some/model\n  quantization: none\n  double_quantization: true"): (
        "study.yaml:6: model.double_quantization: must be left out with model.quantization none, which has "
        "no constants to quantise, got true"
    ),
    ("base: some/model", "base: some/model\n  quantization: none\npacking: {cache_base: true}"): (
        "study.yaml:6: packing.cache_base: must not be true with model.quantization none, which has nothing "
        "to dequantise: remove it"
    ),
    ("base: some/model", "revision: main"): "study.yaml:3: model.base: is required and missing",
    ("low: 1e-5", "low: abc"): "study.yaml:8: space.learning_rate.low: must be a number, got 'abc'",
    ("low: 1e-5", "low: -1"): (
        "study.yaml:8: space.learning_rate: must have low > 0 on a log scale, got low=-1"
    ),
    ("high: 1e-3", "high: 10"): "study.yaml:8: space.learning_rate: must be <= 1, got 10.0",
    ("high: 1e-3", "hihg: 1e-3"): (
        "study.yaml:8: space.learning_rate.high: is required and missing\n"
        "study.yaml:8: space.learning_rate.hihg: unknown key: did you mean high?"
    ),
    ("\n  learning_rate: {type: float, low: 1e-5, high: 1e-3, log: true}", " {}"): (
        "study.yaml:7: space: must name at least one parameter to search, such as learning_rate"
    ),
    ("\n  learning_rate: {type: float, low: 1e-5, high: 1e-3, log: true}", ""): (
        "study.yaml:7: space: must be a mapping of keys, got null"
    ),
    ("space:\n  learning_rate: {type: float, low: 1e-5, high: 1e-3, log: true}\n", ""): (
        "study.yaml:1: space: is required and missing"
    ),
    ("train: train.jsonl", "train: train.jsonl\n  task: clasification"): (
        "study.yaml:7: data.task: must be one of generation, classification, got 'clasification'"
        ": did you mean classification?"
    ),
    ("train: train.jsonl", "train: train.jsonl\n  cleaning: {leaks: true}"): (
        "study.yaml:7: data.cleaning.leaks: unknown key: did you mean leaked?"
    ),
}


@pytest.mark.parametrize(("old", "new"), REPLACED)
def test_what_is_changed_in_a_valid_file_is_refused_in_one_line(refusal, study_text, old, new):
    assert old in study_text
    assert refusal(study_text.replace(old, new)) == REPLACED[old, new]


@pytest.mark.parametrize("written", ["1e-4", '"1e-4"', "1E-4", "0.0001", "+1.0e-04"])
def test_a_learning_rate_is_a_number_however_it_is_written(load, study_text, written):
    text = study_text.replace("learning_rate: {type: float, low: 1e-5, high: 1e-3, log: true}", "rank: [8]")
    assert load(f"{text}training: {{learning_rate: {written}}}").training.learning_rate == 1e-4
    low = load(study_text.replace("low: 1e-5", f"low: {written}")).space.root["learning_rate"].low
    assert low == 1e-4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "study.yaml: must hold a study, is empty; `loratory init` writes a starter file"),
        (b"# nothing\n", "study.yaml: must hold a study, is empty; `loratory init` writes a starter file"),
        (b"null\n", "study.yaml:1: must be a mapping of keys, got null"),
        (b"- a\n- b\n", "study.yaml:1: must be a mapping of keys, got ['a', 'b']"),
        (b"text", "study.yaml:1: must be a mapping of keys, got 'text'"),
        (b"name: [a\nb: 1\n", "study.yaml:2: must be valid YAML: expected ',' or ']', but got ':'"),
        (b"a: 1\nb: c: d\n", "study.yaml:2: must be valid YAML: mapping values are not allowed here"),
        (
            b"a: 1\n\tb: 2\n",
            "study.yaml:2: must be valid YAML: found character '\\t' that cannot start any token",
        ),
        (b"a: *nothing\n", "study.yaml:1: must be valid YAML: found undefined alias 'nothing'"),
        (b"a: 1\n---\nb: 1\n", "study.yaml:2: must be valid YAML: but found another document"),
        (b"name: caf\xe9\n", "study.yaml:1: must be UTF-8, got byte 0xe9: save the file as UTF-8"),
        (b"a: 1\nb: \xff\xfe\n", "study.yaml:2: must be UTF-8, got byte 0xff: save the file as UTF-8"),
        (
            "name: demo\n".encode("utf-16"),
            "study.yaml:1: must be UTF-8, got byte 0xff: save the file as UTF-8",
        ),
        (b"a: 1\nb: \x00\n", "study.yaml:2: must be printable text, got '\\x00'"),
        (
            b"a: !!python/object/apply:os.system [ls]\n",
            "study.yaml:1: must be valid YAML: could not determine a constructor for the tag "
            "'tag:yaml.org,2002:python/object/apply:os.system'",
        ),
        (b"a: " + b"[" * 5000, "study.yaml: must be valid YAML: nested too deeply"),
    ],
)
def test_what_is_no_study_file(refusal, data, message):
    assert refusal(data) == message


def test_a_byte_order_mark_is_no_obstacle(load, study_text):
    assert load(b"\xef\xbb\xbf" + study_text.encode()).name == "demo"


def test_a_missing_file(tmp_path):
    path = tmp_path / "none.yaml"
    with pytest.raises(InputError) as caught:
        load_study(path)
    assert str(caught.value) == f"{path}: no such study file; `loratory init {path}` writes a starter"


def test_a_folder(tmp_path):
    with pytest.raises(InputError, match="must be a study file, is a folder"):
        load_study(tmp_path)


def test_name_alone_stands_for_sampler_and_pruner(load, study_text):
    study = load(study_text + "sampler: gp\npruner: none\n")
    assert (study.sampler.name, study.pruner.name) == (SamplerName.GP, PrunerName.NONE)


@pytest.mark.parametrize(
    ("model", "rest"),
    [
        ("  quantization: none\n", ""),
        ("  quantization: none\n", "packing: {cache_base: false}\n"),
        ("  quantization: nf4\n  double_quantization: false\n", "packing: {cache_base: true}\n"),
        ("", "training: {optimizer: lora_plus}\n"),
        ("", "training: {optimizer: lora_plus, lora_plus_ratio: 4}\n"),
        ("", "  optimizer: [adamw, lora_plus]\ntraining: {lora_plus_ratio: 4}\n"),
        ("", "  optimizer: [adamw, lora_plus]\n  lora_plus_ratio: {type: float, low: 1, high: 32}\n"),
    ],
)
def test_what_is_written_of_a_study_reads_back(load, study_text, model, rest):
    study = load(study_text.replace("base: some/model\n", f"base: some/model\n{model}") + rest)
    again = load(study.model_dump_json(), name="again.yaml")
    assert again == study
    assert again.model_dump(mode="json") == study.model_dump(mode="json")


def test_quantization_given_on_the_command_line_must_fit_the_file(refusal, study_text):
    text = study_text.replace("base: some/model", "base: some/model\n  double_quantization: true")
    assert refusal(text, "model.quantization=none").startswith(
        "study.yaml:5: model.double_quantization: must be left out with model.quantization none"
    )


def test_anchors_and_merge_keys_work_and_errors_below_them_have_a_line(load, refusal, study_text):
    space = "  rank: &choices [4, 8]\n  batch_size: *choices\n"
    assert load(study_text + space).space.root["batch_size"].choices == (4, 8)
    merged = "  rank: &range {type: int, low: 0, high: 8}\n  batch_size: {<<: *range, low: 1}\n"
    assert refusal(study_text + merged) == "study.yaml:9: space.rank: must be >= 1, got 0"
    assert refusal(study_text + "tracking: &t\n  tensorboard: *t\n").startswith("study.yaml:")


def test_reading_a_study_takes_no_time(load, study_text):
    begin = time.process_time()
    load(study_text)
    assert time.process_time() - begin < 1


class TestPython:
    def test_a_dict(self, load):
        text = "study = dict(name='p', objective='toy', space={'rank': (4, 8)})"
        assert load(text, "trials=7", name="study.py").trials == 7

    def test_a_spec(self, load):
        text = "from loratory.spaces import StudySpec\n"
        text += "study = StudySpec(name='p', objective='toy', space={'rank': [4, 8]})"
        assert load(text, name="study.py").space.root["rank"].choices == (4, 8)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("x = 1", "study.py: must define `study`, a StudySpec or a dict of its keys"),
            ("study = 3", "study.py: must be a mapping of keys, got 3"),
            ("study = {'trials': 0}", "study.py: name: is required and missing"),
            ("\nx = 1 / 0", "study.py:2: must run as Python: ZeroDivisionError: division by zero"),
            ("\n\nx = = 1", "study.py:3: must run as Python: SyntaxError: invalid syntax"),
            ("raise SystemExit(3)", "study.py:1: must run as Python: SystemExit: 3"),
            (
                "from loratory.spaces.training import TrainingParameters as T\nt = T(rank=0)",
                "study.py:2: rank: must be >= 1, got 0",
            ),
        ],
    )
    def test_what_is_refused(self, refusal, text, message):
        assert refusal(text, name="study.py").startswith(message)


def test_the_known_keys_of_a_section_are_listed_once(tmp_path):
    path = tmp_path / "study.yaml"
    path.write_text("zzz: 1\nqqq: 2\nxyz: 3\ntracking: {zzz: 1, qqq: 2}\nspace: {rank: [4]}\n")
    with pytest.raises(InputError) as told:
        load_study(path)
    lines = [line for line in str(told.value).splitlines() if "unknown key" in line]
    keys = [line.partition(": unknown key")[0].rpartition(": ")[2] for line in lines]
    assert sorted(keys) == ["qqq", "tracking.qqq", "tracking.zzz", "xyz", "zzz"]
    assert sum("; known are " in line for line in lines) == 2
