"""The configuration of a base as it is known without network and weights."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.base.skeleton import in_one_line
from loratory.objectives.qlora.memory.base_sizes import KNOWN_BASES, KnownBase
from loratory.objectives.quickstart import base_folder
from loratory.spaces.errors import InputError
from loratory.spaces.model import QUICKSTART_BASE, ModelSpec
from loratory.spaces.rules import did_you_mean

_NEEDED = ("hidden_size", "num_hidden_layers")
"""Sizes that transformers would replace by those of some other base where a config.json lacks them."""

_REMEDY = "take the file that the base was published with"


@dataclass(frozen=True, kw_only=True)
class FoundConfiguration:
    """A base's configuration, and where it was found.

    Attributes:
        configuration: of transformers.
        reference: the base; its files may be missing.
        source: phrase for the terminal on what was read.
    """

    configuration: Any
    reference: BaseReference
    source: str


def find_configuration(model: ModelSpec) -> FoundConfiguration:
    """Return a base's configuration from its folder, the Hub's cache on this machine or the shipped table.

    Nothing is fetched, and no weights need to be there.

    Raises:
        InputError: no configuration is found, or it does not say how large the base is.
    """
    folder = base_folder() if model.base == QUICKSTART_BASE else Path(model.base).expanduser()
    if folder.is_dir():
        location = QUICKSTART_BASE if model.base == QUICKSTART_BASE else str(folder.absolute())
        reference = _reference(model, location, None)
        found = _read(model, str(folder.absolute()), revision=None)
        if found is None:
            raise InputError(
                f"model.base: {folder} must have a config.json, from which sizes are read, has none"
            )
        return FoundConfiguration(configuration=found, reference=reference, source="its config.json")
    reference = _reference(model, model.base, model.revision or "main")
    cached = _read(model, model.base, revision=model.revision)
    if cached is not None:
        return FoundConfiguration(
            configuration=cached, reference=reference, source="its config.json in the cache of the Hub"
        )
    known = known_base(model.base)
    if known is None:
        raise InputError(_unknown(model.base))
    source = f"loratory's table, as {known.owner} published them"
    return FoundConfiguration(configuration=configuration_of(known), reference=reference, source=source)


def known_base(name: str) -> KnownBase | None:
    """Return the sizes of a base by its Hub id, which may be a mirror of the same name; None if unknown."""
    return _by_name().get(name.rpartition("/")[2].lower())


def configuration_of(known: KnownBase) -> Any:
    """Return a known base as a configuration of transformers."""
    from transformers import AutoConfig

    fields = json.loads(json.dumps(known.fields))  # transformers keeps and changes nested ones
    return AutoConfig.for_model(fields.pop("model_type"), **fields)


def _reference(model: ModelSpec, location: str, revision: str | None) -> BaseReference:
    return BaseReference(
        location=location,
        revision=revision,
        published_name=model.hub_id,
        trust_remote_code=model.trust_remote_code,
    )


def _read(model: ModelSpec, source: str, *, revision: str | None) -> Any | None:
    """Return a configuration that is on this machine; None if there is none.

    Raises:
        InputError: it cannot be read, or lacks sizes.
    """
    path = _path(source, revision)
    if path is None:
        return None
    from transformers import AutoConfig

    try:
        written = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(written, dict):
            raise ValueError(f"it must be a JSON object, is {type(written).__name__}")
        configuration = AutoConfig.from_pretrained(
            source,
            revision=revision,
            trust_remote_code=model.trust_remote_code,
            local_files_only=True,
        )
    except Exception as error:  # transformers checks sizes with errors of its own, and bases bring code
        raise InputError(
            f"model.base: {model.base} must have a readable config.json: {in_one_line(error)}; {_REMEDY}"
        ) from error
    _check_sizes(model.base, configuration, written)
    return configuration


def _path(source: str, revision: str | None) -> Path | None:
    """Return the path of a config.json on this machine; None if there is none."""
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    if Path(source).is_dir():
        path = Path(source) / "config.json"
        return path if path.is_file() else None
    try:
        found = try_to_load_from_cache(source, "config.json", revision=revision)
    except HFValidationError:
        return None
    return Path(found) if isinstance(found, str) else None


def _check_sizes(base: str, configuration: Any, written: Any) -> None:
    """Refuse a config.json without sizes.

    Raises:
        InputError: it does not say how large the base is.
    """
    text = configuration.get_text_config()
    own = written if text is configuration else written.get("text_config", written)
    names = {name: getattr(text, "attribute_map", {}).get(name, name) for name in _NEEDED}
    missing = [name for name, also in names.items() if name not in own and also not in own]
    if missing:
        raise InputError(
            f"model.base: the config.json of {base} must give {' and '.join(missing)}, from which memory "
            f"follows; {_REMEDY}"
        )


def _unknown(base: str) -> str:
    if base.startswith(("/", ".", "~")):
        return (
            "model.base: must be a folder with a config.json or a Hub id, got "
            f"{base!r}, which is {'a file' if Path(base).expanduser().is_file() else 'not there'}"
        )
    names = [f"{known.owner}/{name}" for known in KNOWN_BASES for name in known.names]
    return (
        f"model.base: the sizes of {base!r} must be known, no config.json of it is on this machine and "
        f"loratory's table lacks it{did_you_mean(base, names)}; download it (hf download {base} config.json) "
        "or give a folder that holds it"
    )


def _by_name() -> dict[str, KnownBase]:
    return {name.lower(): known for known in KNOWN_BASES for name in known.names}
