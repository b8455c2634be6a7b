"""Train the quickstart's base from scratch on the ids of `quickstart_base.corpus`.

    PYTHONPATH=tools python -m quickstart_base.pretraining FOLDER BASE [--tokens 2_600_000_000]

FOLDER is the folder of the corpus, BASE that of the model to write. One H200 takes seven minutes. A CPU takes
days, and serves to try the code (``--tokens 60_000 --batch-size 8 --no-compile`` takes a minute).
"""

import argparse
import json
import platform
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers
from transformers import GenerationConfig

from quickstart_base.corpus import load_ids
from quickstart_base.training import Recipe, train

COPIED_FILES = ("tokenizer.json", "tokenizer_config.json", "corpus.json.gz")


def write_base(recipe: Recipe, *, corpus: Path, base: Path) -> None:
    """Train on the corpus in a folder and write the model, its tokenizer and a record of the run.

    The model card is written by hand and is not changed.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_float32_matmul_precision("high")
    ids, held_out = (
        torch.from_numpy(load_ids(corpus / f"{name}.npy.xz").astype("int16")).to(device)
        for name in ("train", "heldout")
    )
    model, measured = train(recipe, ids, held_out=held_out)
    model.generation_config = GenerationConfig(bos_token_id=0, eos_token_id=0, pad_token_id=1)
    model.to(torch.bfloat16).save_pretrained(base)
    # The file is written readable for its owner alone, and a wheel would keep that.
    (base / "model.safetensors").chmod(0o644)
    for name in COPIED_FILES:
        shutil.copy(corpus / name, base / name)
    versions = {"python": platform.python_version(), "torch": torch.__version__}
    record = {
        "recipe": asdict(recipe),
        "corpus_tokens": len(ids),
        "parameters": model.num_parameters(),
        "measured": measured,
        "versions": versions | {"transformers": transformers.__version__},
        "device": torch.cuda.get_device_name() if device == "cuda" else "cpu",
    }
    (base / "pretraining.json").write_text(json.dumps(record, indent=2) + "\n")
    print(json.dumps(record), flush=True)


def main() -> None:
    """Run the command."""
    default = Recipe()
    parser = argparse.ArgumentParser(description="Train the quickstart's base.")
    parser.add_argument("corpus", type=Path)
    parser.add_argument("base", type=Path)
    for name, value in asdict(default).items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, default=value)
        else:
            parser.add_argument(flag, type=type(value), default=value)
    arguments = vars(parser.parse_args())
    corpus, base = arguments.pop("corpus"), arguments.pop("base")
    write_base(replace(default, **arguments), corpus=corpus, base=base)


if __name__ == "__main__":
    main()
