"""Checks before publishing: no secrets, no local paths, no weights except the adapter's."""

import json
import re
from pathlib import Path
from typing import Any

from loratory.objectives.versions import fault
from loratory.spaces.errors import InputError

_SECRETS = {
    "a Hugging Face token": r"\bhf_[A-Za-z0-9]{20,}",
    "a GitHub token": r"\b(gh[pousr]_[A-Za-z0-9]{30,}|github_pat_[A-Za-z0-9_]{30,})",
    "an AWS key": r"\b(AKIA|ASIA)[A-Z0-9]{16}\b",
    # A key has a long run of letters and digits; words joined by hyphens do not.
    "an API key": r"\b(sk|wandb_v1)[-_]([A-Za-z0-9]+[-_])*(?=[A-Za-z]*\d)[A-Za-z0-9]{16,}",
    "a private key": r"-----BEGIN [A-Z ]*PRIVATE KEY-----",
    "a password in a URL": r"\b[a-z][a-z0-9+.-]*://[^\s/:@]+:[^\s/@]+@",
}
_PATHS = re.compile(r"(^|[\s\"'`(=])(/[\w.~-]+|~/|[A-Za-z]:[\\/]|\\\\\w|file:)")
_ADAPTER_TENSOR = re.compile(r"\.lora_(A|B|embedding_A|embedding_B|magnitude_vector)\b")


def refuse_secrets(name: str, text: str) -> None:
    """Refuse text that may hold a credential; the message does not repeat it."""
    for what, pattern in _SECRETS.items():
        if re.search(pattern, text):
            raise InputError(f"{name}: must hold no secret, seems to hold {what}; remove it and revoke it")


def refuse_paths(name: str, text: str) -> None:
    """Refuse text with an absolute path, which describes one machine and is useless elsewhere."""
    found = _PATHS.search(text)
    if found:
        raise InputError(f"{name}: must hold no path of a machine, holds {found.group(2)!r}")


def check_config(name: str, content: dict[str, Any]) -> None:
    """Refuse a PEFT configuration with secrets or paths anywhere in it.

    Raises:
        InputError: it holds a secret or a path.
    """
    for text in _strings(content):
        refuse_secrets(name, text)
        refuse_paths(name, text)


def check_weights(path: Path) -> None:
    """Refuse a file that is not safetensors or holds other tensors than those of LoRA.

    Raises:
        InputError: the file is refused.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as file:
            names = list(file.keys())
            metadata = file.metadata() or {}
    except (SafetensorError, OSError) as error:
        if not path.is_file():
            raise InputError(f"{path}: must be the adapter's weights, is not there; restore it") from error
        raise InputError(f"{path.name}: must be whole safetensors, is not: {error}") from error
    strange = [name for name in names if not _ADAPTER_TENSOR.search(name)]
    if strange or not names:
        raise InputError(f"{path.name}: must hold LoRA tensors alone, holds {(strange or ['nothing'])[0]!r}")
    for text in (*metadata, *metadata.values()):
        refuse_secrets(path.name, text)
        refuse_paths(path.name, text)


def read_config(path: Path) -> dict[str, Any]:
    """Read the LoRA configuration of an adapter.

    Raises:
        InputError: the file is no LoRA configuration of PEFT.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        why = fault(error)
        raise InputError(f"{path}: must be the adapter's configuration, is damaged: {why}") from error
    if not isinstance(content, dict) or content.get("peft_type") != "LORA":
        raise InputError(f"{path}: must be a LoRA configuration of PEFT, is not")
    return content


def _strings(content: Any) -> list[str]:
    if isinstance(content, str):
        return [content]
    if isinstance(content, dict):
        return [text for item in content.items() for part in item for text in _strings(part)]
    if isinstance(content, list):
        return [text for part in content for text in _strings(part)]
    return []
