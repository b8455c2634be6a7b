"""Reference to the base of a study, found without loading weights, and the hash of its content."""

import contextlib
import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path

from loratory.objectives.qlora.base.content_hash import WITHOUT_WEIGHTS, content_sha256
from loratory.objectives.quickstart import base_folder
from loratory.spaces.errors import InputError
from loratory.spaces.model import QUICKSTART_BASE, ModelSpec
from loratory.spaces.rules import did_you_mean

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


@dataclass(frozen=True, kw_only=True)
class BaseReference:
    """A base that exists, as the driver found it, in plain values that can be sent to workers.

    Attributes:
        location: absolute folder, Hub id, or `builtin:quickstart`.
        revision: commit of a Hub id; None for a folder.
        published_name: name of the base in an adapter's configuration: a Hub id, never a path.
        trust_remote_code: whether code that comes with the base may run.
    """

    location: str
    revision: str | None
    published_name: str | None
    trust_remote_code: bool

    @property
    def has_weights(self) -> bool:
        """True if a driver has the weights: of a Hub id it downloads configuration and tokenizer alone."""
        return self.revision is None

    @property
    def source(self) -> str:
        """Argument of `from_pretrained` on this machine."""
        return str(base_folder()) if self.location == QUICKSTART_BASE else self.location


def resolve_base(model: ModelSpec) -> BaseReference:
    """Find the base that a study names.

    For a Hub id only configuration and tokenizer are downloaded.

    Raises:
        InputError: the folder or Hub id does not exist, or holds no model.
    """
    folder = base_folder() if model.base == QUICKSTART_BASE else Path(model.base).expanduser()
    if model.base == QUICKSTART_BASE or folder.is_dir():
        return _resolve_folder(model, folder.absolute())
    if folder.is_file():
        raise InputError(
            f"model.base: must be a folder with config.json, tokenizer and *.safetensors, {folder} is a file"
        )
    if not _HUB_ID.fullmatch(model.base):
        raise InputError(
            f"model.base: must be a folder that exists, a Hub id or {QUICKSTART_BASE}, got {model.base!r}"
            f"{did_you_mean(model.base, [QUICKSTART_BASE])}"
        )
    return _resolve_hub_id(model)


def base_sha256(reference: BaseReference) -> str:
    """Hash weights, configuration and tokenizer. Slow for a folder whose files this node has not hashed yet.

    The commit of a Hub id represents its content: it is itself a hash over the hashes of all files.
    """
    if reference.revision is None:
        return content_sha256(reference.source)
    return hashlib.sha256(f"{reference.location}@{reference.revision}".encode()).hexdigest()


def tokenizer_sha256(reference: BaseReference) -> str:
    """Hash configuration and tokenizer, as `base_sha256` does with the weights."""
    return (
        content_sha256(reference.source, weights=False)
        if reference.revision is None
        else base_sha256(reference)
    )


def _resolve_folder(model: ModelSpec, folder: Path) -> BaseReference:
    if model.revision is not None:
        raise InputError(
            f"model.revision: must be left out where model.base is a folder, got {model.revision!r}"
        )
    _refuse_adapter(folder, str(folder))
    for pattern, content in {"config.json": "configuration", "tokenizer*": "tokenizer"}.items():
        if not any(folder.glob(pattern)):
            raise InputError(
                f"model.base: {folder} must be a transformers folder, has no {content} ({pattern})"
            )
    if not any(folder.glob("*.safetensors")) and not any(folder.glob("pytorch_model*.bin")):
        instead = "*.gguf, which transformers cannot train; take the release that it was made from"
        raise InputError(
            f"model.base: {folder} must hold weights, has no *.safetensors"
            f"{f', but {instead}' if any(folder.glob('*.gguf')) else ''}"
        )
    return BaseReference(
        location=QUICKSTART_BASE if model.base == QUICKSTART_BASE else str(folder),
        revision=None,
        published_name=model.hub_id,
        trust_remote_code=model.trust_remote_code,
    )


def _resolve_hub_id(model: ModelSpec) -> BaseReference:
    from huggingface_hub import snapshot_download

    try:
        snapshot = snapshot_download(
            model.base, revision=model.revision, allow_patterns=list(WITHOUT_WEIGHTS), etag_timeout=4
        )
    except Exception as error:  # errors of networks, access tokens and names share no class
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0].removeprefix("Got: ")
        raise InputError(
            f"model.base: {model.base!r} is no folder here, and as a Hub id it cannot be read: {reason}; "
            f"give a folder or another id, or {QUICKSTART_BASE}, which needs no network"
        ) from error
    commit = Path(snapshot).name
    _refuse_adapter(Path(snapshot), model.base)
    return BaseReference(
        location=model.base,
        revision=commit,
        published_name=model.hub_id or model.base,
        trust_remote_code=model.trust_remote_code,
    )


def _refuse_adapter(folder: Path, location: str) -> None:
    """Refuse a folder with an adapter, which transformers would load into the base.

    Args:
        folder: a folder with the files of the base, weights or not.
        location: the base, for the message.

    Raises:
        InputError: the folder holds an adapter.
    """
    file = folder / "adapter_config.json"
    if not file.is_file():
        return
    base = None
    with contextlib.suppress(ValueError, AttributeError):
        base = json.loads(file.read_text(encoding="utf-8")).get("base_model_name_or_path")
    made_for = f", made for {base}" if base else ""
    raise InputError(
        f"model.base: {location} must hold a base alone, has an adapter (adapter_config.json{made_for}); "
        "take the adapter's base, or merge both (PEFT's merge_and_unload) and save the result without adapter"
    )
