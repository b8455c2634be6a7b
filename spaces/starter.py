"""The study file that `loratory init` writes: a QLoRA study with one comment per key."""

import json
import re
import shlex
from pathlib import Path
from typing import Final

from loratory.spaces.errors import InputError
from loratory.spaces.rules import STUDY_NAME, shown
from loratory.spaces.schema import TITLE, study_schema

SCHEMA_FILE: Final = "loratory.schema.json"

_STARTER: Final = """\
# yaml-language-server: $schema=./loratory.schema.json
# A QLoRA hyperparameter search. Run it, or resume it, with: loratory run {file}

name: {name:<26} # of the study and of its folder under runs/
metric: rougeL                   # optimised and ranked by; also loss, bleu, chrf, token_f1, ...
trials: 20                       # in all; run again with a larger number to go on
early_stopping_patience: 2       # stop a trial after this many evaluations without improvement; null: never
seed: 0                          # seeds the sampler and every trial

model:
  base: Qwen/Qwen2.5-1.5B        # Hub id or local folder; it stays frozen
  quantization: nf4              # 4 bits; or none: in bf16, fp16 or fp32, as compute_dtype says
  revision: null                 # of a Hub id: branch, tag or commit; pin one to keep the same model

data:
  train: train.jsonl             # JSONL, CSV or Parquet file, or a Hub data set id
  eval: null                     # the same for eval; null takes a tenth of train, of few rows more
  test: null                     # the same for test, scored once, for the winner; null: none
  max_length: null               # longest prompt plus answer in tokens; null: 1,024, or what the model reads

evaluation:
  evaluations: 4                 # how often each trial is scored while it trains
  dev_examples: null             # eval examples for pruning, the others rank trials; null: 64 or half of eval
  max_new_tokens: 128            # longest answer decoded

space:                           # what is searched; a plain list means "one of"
  learning_rate: {{type: float, low: 1e-5, high: 1e-3, log: true}}
  batch_size: [8, 16, 32]        # examples per optimiser step
  rank: [8, 16, 32, 64]          # rank of the LoRA matrices
  epochs: {{type: int, low: 1, high: 3}}

training:                        # what is fixed
  target_modules: all-linear     # linear layers with an adapter; or a list, such as [q_proj, v_proj]
  dropout: 0.05                  # of the adapter's input
  schedule: cosine               # of the learning rate, as in transformers: cosine, linear, constant
  warmup: 0.05                   # share of the steps in which the learning rate rises
  weight_decay: 0.0              # on the adapter's weights
  optimizer: adamw               # or lora_plus: a larger learning rate for the matrices B

sampler: tpe                     # tpe, random, grid, cmaes, gp, nsga2
pruner: median                   # median, percentile, hyperband, successive_halving, patient, none

packing:                         # trials that train together on one base
  slots: null                    # how many at once on a worker; null: up to 16 on a GPU, one on a CPU

tracking:
  wandb: {{mode: auto}}            # online where an API key is found, else offline; or off
  tensorboard: false             # write TensorBoard files too
"""


def starter_study(name: str, *, file: str = "study.yaml") -> str:
    """Return a commented study file that loads without changes.

    Args:
        name: name of the study.
        file: file name, for the command in its heading.

    Raises:
        InputError: a study may not have this name.
    """
    if not re.fullmatch(STUDY_NAME, name):
        raise InputError(f"a study's name must match {STUDY_NAME}, got {shown(name)}")
    return _STARTER.format(name=name, file=shlex.quote(file))


def write_starter(path: Path) -> list[Path]:
    """Write a starter study file and, beside it, the JSON Schema that it refers to.

    Args:
        path: the `.yaml` or `.yml` file to write; its stem names the study, its folder is created.

    Returns:
        The files written, the study file first.

    Raises:
        InputError: the study file exists, has another suffix, or a file of the user has the schema's name.
    """
    if path.suffix not in (".yaml", ".yml"):
        raise InputError(f"{path}: a starter must be a .yaml file, such as {path.with_suffix('.yaml')}")
    schema = path.with_name(SCHEMA_FILE)
    if path.exists():
        raise InputError(f"{path}: must not exist: name another file, or remove this one")
    if schema.exists() and not _is_ours(schema):
        raise InputError(f"{schema}: must not be a file of your own: move it, or name another folder")
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", path.stem).lstrip("._-")[:100] or "study"
    text = starter_study(name, file=path.name)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        schema.write_text(json.dumps(study_schema(), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: must be in a folder that can be written to: {error.strerror}") from error
    return [path, schema]


def _is_ours(schema: Path) -> bool:
    try:
        document = json.loads(schema.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(document, dict) and document.get("title") == TITLE
