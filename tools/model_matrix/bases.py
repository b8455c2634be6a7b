"""Tiny random bases of any architecture, with a tokenizer in which every token is a word of its own."""

import random
from pathlib import Path
from typing import Any

import torch

VOCABULARY, PADDING, END = 160, 0, 1
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
            module.weight.normal_(0.0, _STANDARD_DEVIATION)
            if isinstance(bias := getattr(module, "bias", None), torch.Tensor):
                bias.normal_(0.0, _STANDARD_DEVIATION)


def make_tokenizer() -> Any:
    """Return a tokenizer whose texts are words `w2` to `w159`: text and tokens tell the same."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    words = {"<pad>": PADDING, "</s>": END} | {f"w{place}": place for place in range(2, VOCABULARY)}
    inner = Tokenizer(models.WordLevel(words, unk_token="w2"))
    inner.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, eos_token="</s>", pad_token="<pad>")


def draw_rows(count: int, *, seed: int) -> list[dict[str, str]]:
    """Return rows of drawn words; prompts have 1 to 24, answers 2 to 6."""
    draw = random.Random(seed)

    def words(most: int, least: int = 1) -> str:
        return " ".join(f"w{draw.randrange(2, VOCABULARY)}" for _ in range(draw.randint(least, most)))

    return [{"prompt": f"{words(24)}\n", "completion": words(6, 2)} for _ in range(count)]
