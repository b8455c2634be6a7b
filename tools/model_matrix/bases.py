"""Tiny random bases of any architecture, with a tokenizer of their size."""

import random
from pathlib import Path
from typing import Any

import torch

VOCABULARY, PADDING, END = 160, 0, 1
_LETTERS = "abcdefghijklm"
_STANDARD_DEVIATION = 0.15  # large enough for attention to matter and for answers to vary


def make_base(folder: Path, model_type: str, settings: dict[str, Any]) -> None:
    """Write a random model and its tokenizer.

    Args:
        folder: where to.
        model_type: name of the architecture in transformers.
        settings: of its configuration.
    """
    from transformers import AutoConfig, AutoModelForCausalLM

    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(model_type, **settings))
    _draw(model)
    model.save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)


@torch.no_grad()
def _draw(model: torch.nn.Module) -> None:
    """Draw the weights of linear layers, convolutions and embeddings; others keep their first values."""
    for module in model.modules():
        kinds = torch.nn.Linear, torch.nn.Embedding
        if isinstance(module, kinds) or type(module).__name__ == "Conv1D":
            for parameter in (module.weight, getattr(module, "bias", None)):
                if isinstance(parameter, torch.Tensor):
                    parameter.normal_(0.0, _STANDARD_DEVIATION)


def make_tokenizer() -> Any:
    """Return a byte-level tokenizer; its 160 tokens are 13 letters, and words of one or two of them."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    space, letters = "\u0120", _LETTERS
    merges = [(space, letter) for letter in letters] + [(f"{space}{word[0]}", word[1]) for word in _words()]
    tokens = ["<pad>", "</s>", space, *letters, *("".join(merge) for merge in merges)]
    vocabulary = {token: place for place, token in enumerate(tokens)}
    inner = Tokenizer(models.BPE(vocabulary, merges))
    inner.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inner.decoder = decoders.ByteLevel()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", pad_token="<pad>")


def _words() -> list[str]:
    """Return words of two letters, as many as the vocabulary has room for."""
    room = VOCABULARY - 3 - 2 * len(_LETTERS)
    return [first + second for first in _LETTERS for second in _LETTERS][:room]


def draw_rows(count: int, *, seed: int) -> list[dict[str, str]]:
    """Return rows of drawn words; prompts have 1 to 24, answers 2 to 6."""
    draw, words = random.Random(seed), _words()

    def text(most: int, least: int = 1) -> str:
        return "".join(f" {draw.choice(words)}" for _ in range(draw.randint(least, most)))

    return [{"prompt": text(24), "completion": text(6, 2)} for _ in range(count)]
