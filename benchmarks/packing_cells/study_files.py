"""Files of the study: a random base, a tokenizer for it, and data of random words."""

import json
import random
from pathlib import Path
from typing import Any

import torch

from packing_cells.models import compute_dtype
from packing_cells.shapes import ModelShape
from packing_cells.study_plan import StudySize

_SPECIAL = ("</s>", "<pad>", "<unk>")  # in the order of their ids, see `ModelShape.configuration`


def write_base(folder: Path, shape: ModelShape, *, device: torch.device, seed: int = 0) -> None:
    """Write a random model and its tokenizer, unless they are there already.

    The special tokens' rows of the output head are zero, and so are their logits. Of thousands of other
    logits at random the largest is above zero: no answer ever ends, whatever an adapter does to the hidden
    states.

    Args:
        folder: where.
        shape: the sizes.
        device: where weights are drawn; its compute dtype is theirs.
        seed: of the weights.
    """
    complete = folder / "complete"
    if complete.exists():
        return
    from transformers import AutoModelForCausalLM

    torch.manual_seed(seed)
    with torch.device(device):
        model = AutoModelForCausalLM.from_config(shape.configuration(), dtype=compute_dtype(device))
    with torch.no_grad():
        model.get_output_embeddings().weight[: len(_SPECIAL)] = 0.0
    model.save_pretrained(folder)
    tokenizer(shape.vocabulary).save_pretrained(folder)
    complete.touch()


def tokenizer(vocabulary: int) -> Any:
    """A transformers tokenizer with a token for each word `w3`, `w4`, ..., with spaces between words."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    tokens = [*_SPECIAL, *(_word(number) for number in range(len(_SPECIAL), vocabulary))]
    inner = Tokenizer(models.WordLevel({token: place for place, token in enumerate(tokens)}, "<unk>"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(
        tokenizer_object=inner, eos_token="</s>", pad_token="<pad>", unk_token="<unk>"
    )


def write_data(folder: Path, size: StudySize, *, vocabulary: int, seed: int = 0) -> None:
    """Write train.jsonl and eval.jsonl: prompts and answers of random words, all of one length."""
    draw = random.Random(seed)
    folder.mkdir(parents=True, exist_ok=True)
    for name, count in (("train", size.train), ("eval", size.dev + size.select)):
        rows = [
            {
                "prompt": _text(draw, size.prompt_tokens, vocabulary=vocabulary),
                # The end token is the last of an answer.
                "completion": " " + _text(draw, size.answer_tokens - 1, vocabulary=vocabulary),
            }
            for _ in range(count)
        ]
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")


def _text(draw: random.Random, words: int, *, vocabulary: int) -> str:
    return " ".join(_word(number) for number in draw.choices(range(len(_SPECIAL), vocabulary), k=words))


def _word(number: int) -> str:
    return f"w{number}"
