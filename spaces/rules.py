"""Errors of broken rules that name their key, and wording for the errors of pydantic."""

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic_core import ErrorDetails, PydanticCustomError

STUDY_NAME: Final = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$"
_PATTERNS: Final = {
    STUDY_NAME: "must be letters, digits, `.`, `_` and `-`, at most 100, beginning with a letter or digit"
}

# Names of the same settings in PEFT, transformers and other tools.
_OTHER_NAMES: Final = {
    "lr": "learning_rate",
    "r": "rank",
    "lora_r": "rank",
    "lora_rank": "rank",
    "lora_alpha": "alpha",
    "lora_dropout": "dropout",
    "use_rslora": "rank_stabilized",
    "num_train_epochs": "epochs",
    "num_epochs": "epochs",
    "per_device_train_batch_size": "batch_size",
    "train_batch_size": "batch_size",
    "warmup_ratio": "warmup",
    "lr_scheduler_type": "schedule",
    "scheduler": "schedule",
    "gradient_clipping": "max_grad_norm",
    "optim": "optimizer",
    "optimiser": "optimizer",
    "loraplus_lr_ratio": "lora_plus_ratio",
    "micro_batch_size": "tokens_per_pass",
    "pack_size": "slots",
    "n_trials": "trials",
    "num_trials": "trials",
    "patience": "early_stopping_patience",
    "model_name_or_path": "base",
    "hyperparameters": "space",
    "search_space": "space",
    "f1": "token_f1",
    "em": "exact_match",
    "rouge_l": "rougeL",
    "rouge_lsum": "rougeLsum",
    "use_stemmer": "rouge_stemmer",
    "constant_with_warmup": "constant",
    "cma-es": "cmaes",
    "bayesian": "tpe",
    "asha": "successive_halving",
    "adamw_torch": "adamw",
    "adamw_torch_fused": "adamw",
    "integer": "int",
    "choice": "categorical",
    "uniform": "float",
    "loguniform": "float",
}

_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], str]]] = {
    "greater_than_equal": lambda c: f"must be >= {c['ge']:g}",
    "greater_than": lambda c: f"must be > {c['gt']:g}",
    "less_than_equal": lambda c: f"must be <= {c['le']:g}",
    "less_than": lambda c: f"must be < {c['lt']:g}",
    "finite_number": lambda _: "must be a finite number",
    "string_type": lambda _: "must be text",
    "string_too_short": lambda _: "must not be empty",
    "string_pattern_mismatch": lambda c: _PATTERNS.get(c["pattern"], f"must match {c['pattern']}"),
    "too_short": lambda c: f"must have at least {c['min_length']} item{'s' * (c['min_length'] > 1)}",
    **dict.fromkeys(("enum", "literal_error"), lambda c: f"must be one of {', '.join(_expected(c))}"),
    **dict.fromkeys(
        ("int_type", "int_parsing", "int_from_float", "int_parsing_size"), lambda _: "must be a whole number"
    ),
    **dict.fromkeys(("float_type", "float_parsing"), lambda _: "must be a number"),
    **dict.fromkeys(("bool_type", "bool_parsing"), lambda _: "must be true or false"),
    **dict.fromkeys(("dict_type", "model_type"), lambda _: "must be a mapping of keys"),
    **dict.fromkeys(("tuple_type", "list_type"), lambda _: "must be a list"),
}


def broken_rule(rule: str, *, at: tuple[str | int, ...] = (), **got: Any) -> PydanticCustomError:
    """Return the error of a rule that spans keys, to be raised in a validator.

    Args:
        rule: the rule in words.
        at: path of the key to correct, from the model that the validator belongs to.
        got: `value=`, the current value, if the rule does not show it.
    """
    return PydanticCustomError("broken_rule", "{rule}", {"rule": rule, "at": at, **got})


def in_words(detail: ErrorDetails) -> str:
    """Return the rule of an error and the value that breaks it, without the place."""
    context = detail.get("ctx", {})
    words = _WORDS.get(detail["type"])
    rule = words(context) if words else detail["msg"].removeprefix("Value error, ")
    if "got " in rule or (detail["type"] == "broken_rule" and "value" not in context):
        return rule
    value = context.get("value", detail["input"])
    if isinstance(value, Mapping) and detail["type"] == "value_error":
        return rule
    return f"{rule}, got {shown(value)}{_hint(detail['type'], value, context)}"


def _hint(kind: str, value: Any, context: Mapping[str, Any]) -> str:
    if kind == "string_type" and isinstance(value, bool | int | float):
        return ": put it in quotes"
    return did_you_mean(value, _expected(context)) if "expected" in context else ""


def shown(value: Any) -> str:
    """Format a value as in a study file, cut at 80 characters."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "a mapping"
    text = repr(str(value) if isinstance(value, str) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """Return `: did you mean X?` for the closest known word, or an empty text."""
    by_letters = {_letters(name): name for name in known}
    other = _letters(usual_name(str(word)))
    close = (
        [other]
        if other in by_letters
        else difflib.get_close_matches(_letters(word), by_letters, n=1, cutoff=0.7)
    )
    return f": did you mean {by_letters[close[0]]}?" if close else ""


def usual_name(word: str) -> str:
    """Return the study file's name for `word`, which may be the name in another tool."""
    return _OTHER_NAMES.get(word.lower(), word)


def _letters(word: Any) -> str:
    return re.sub(r"[\W_]", "", str(word)).lower()


def _expected(context: Mapping[str, Any]) -> list[str]:
    return re.findall(r"'([^']*)'", context["expected"])
