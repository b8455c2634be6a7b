"""Loading of the frozen base, once per worker, in the format that the study names."""

import contextlib
import logging
import os
from dataclasses import dataclass
from typing import Any

import torch

from loratory.objectives.qlora.base.allocator import use_expandable_segments
from loratory.objectives.qlora.base.architecture import read_configuration, read_tokenizer, vocabulary
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.formats.base_format import BaseFormat
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.base.skeleton import model_loader
from loratory.spaces.model import ComputeDtype, ModelSpec

_DTYPES = {
    ComputeDtype.BF16: torch.bfloat16,
    ComputeDtype.FP16: torch.float16,
    ComputeDtype.FP32: torch.float32,
}


@dataclass(kw_only=True)
class Base:
    """A loaded base with the settings for training and decoding on it.

    Attributes:
        model: frozen causal language model of transformers; all but linear layers in `compute_dtype`.
        format: number format of the linear layers.
        tokenizer: the tokenizer of the base.
        device: device that holds the model.
        compute_dtype: number format of activations; adapters are always fp32.
        end_ids: every token id that ends an answer.
        padding_id: token id of padding.
        published_name: name of the base in the files of adapters; None if it has none.
        revision: commit of that base; None if unknown.
    """

    model: Any
    format: BaseFormat
    tokenizer: Any
    device: torch.device
    compute_dtype: torch.dtype
    end_ids: tuple[int, ...]
    padding_id: int
    published_name: str | None = None
    revision: str | None = None

    def autocast(self) -> contextlib.AbstractContextManager[Any]:
        """Return the context of a forward pass: mixed precision, or no change in fp32."""
        if self.compute_dtype is torch.float32:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.compute_dtype)


def load_base(model: ModelSpec, reference: BaseReference) -> Base:
    """Load a base, on the GPU if there is one.

    Args:
        model: gives quantisation and precision.
        reference: the base.
    """
    device, dtype = choose_device(model)
    base_format = format_of(model.quantization)
    loaded = _load_model(model, reference, base_format, device=device, dtype=dtype)
    tokenizer = read_tokenizer(reference)
    ends = tuple(sorted(_end_ids(loaded, tokenizer)))
    padding = _padding_id(tokenizer, ends, known=vocabulary(loaded))
    _set_greedy_decoding(loaded, end_ids=ends, padding_id=padding)
    return Base(
        model=loaded,
        format=base_format,
        tokenizer=tokenizer,
        device=device,
        compute_dtype=dtype,
        end_ids=ends,
        padding_id=padding,
        published_name=reference.published_name,
        revision=reference.revision if reference.published_name == reference.location else None,
    )


def choose_device(model: ModelSpec) -> tuple[torch.device, torch.dtype]:
    """Return the device to load a base on, and the number format for computing there."""
    use_expandable_segments()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    return device, choose_dtype(model.compute_dtype, device)


def choose_dtype(compute_dtype: ComputeDtype, device: torch.device) -> torch.dtype:
    """Return the number format that a setting selects on a device."""
    if compute_dtype is not ComputeDtype.AUTO:
        return _DTYPES[compute_dtype]
    if device.type == "cpu":
        return torch.float32
    return torch.bfloat16 if torch.cuda.is_bf16_supported(including_emulation=False) else torch.float16


def _load_model(
    model: ModelSpec,
    reference: BaseReference,
    base_format: BaseFormat,
    *,
    device: torch.device,
    dtype: torch.dtype,
) -> Any:
    quieten()
    if device.type == "cuda":
        _make_deterministic()
    configuration = read_configuration(reference)
    loaded = model_loader(configuration).from_pretrained(
        reference.source,
        revision=reference.revision,
        config=configuration,
        trust_remote_code=reference.trust_remote_code,
        dtype=dtype,
        device_map={"": device},
        **base_format.loading_options(model, dtype),
    )
    loaded.requires_grad_(False)
    base_format.prepare(loaded)
    if model.gradient_checkpointing is True:
        checkpoint_activations(loaded)
    return loaded


def checkpoint_activations(model: Any, *, enabled: bool = True) -> None:
    """Make the layers of a frozen model recompute their activations in the backward pass, or keep them again.

    May be called at any time between passes; CUDA graphs that were captured before go on as they were.

    Args:
        model: a transformers model, fused or not.
        enabled: False undoes an earlier call.
    """
    # Not reentrant: the reentrant kind gives wrong gradients if no input of a layer needs one. A pass draws
    # no random numbers, and the generator's state cannot be saved while a CUDA graph is captured.
    settings = {"use_reentrant": False, "preserve_rng_state": False}
    # The second name is that before transformers 5.20.
    kind = "activation" if hasattr(model, "activation_checkpointing_enable") else "gradient"
    if enabled:
        getattr(model, f"{kind}_checkpointing_enable")(settings)
    else:
        getattr(model, f"{kind}_checkpointing_disable")()
    for module in model.modules():
        # Layers checkpoint in training mode only; modules inside them stay in eval mode, without dropout.
        if hasattr(module, "gradient_checkpointing") or hasattr(module, "activation_checkpointing"):
            module.training = enabled


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    settings = (model.config, model.config.get_text_config(), model.generation_config)
    named = [tokenizer.eos_token_id, *(getattr(one, "eos_token_id", None) for one in settings)]
    lists = [ids if isinstance(ids, list) else [ids] for ids in named]
    return {int(token_id) for ids in lists for token_id in ids if token_id is not None}


def _padding_id(tokenizer: Any, end_ids: tuple[int, ...], *, known: int | None) -> int:
    """Return the token of padding: the tokenizer's own, where the model has a row for it.

    A padding token that was added to a tokenizer alone has none, and the row is read before masks hide it.
    """
    candidates = (tokenizer.pad_token_id, *end_ids)
    return next((one for one in candidates if one is not None and (known is None or one < known)), 0)


def _set_greedy_decoding(model: Any, *, end_ids: tuple[int, ...], padding_id: int) -> None:
    # Replaces all generation settings of the base: transformers would take the values that we leave open
    # (a temperature, a repetition penalty) from them.
    from transformers import GenerationConfig

    model.generation_config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        use_cache=True,
        eos_token_id=list(end_ids) or None,
        pad_token_id=padding_id,
    )


def _make_deterministic() -> None:
    # By default the backward pass of fused attention sums in a different order each time.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(True, warn_only=True)
    # Filling uninitialised memory costs time, and nothing here reads such memory.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def quieten() -> None:
    """Silence messages of libraries that are of no use to a study."""
    import transformers

    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
