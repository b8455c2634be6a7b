"""A base with packed linear layers and packed attention: runs passes over sequences of several slots."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from typing import Any

import torch

from loratory.objectives.packing.attention import DryLayout, FlashLayout, PaddedLayout, SequenceLayout
from loratory.objectives.packing.attention_interface import IMPLEMENTATION, install_attention
from loratory.objectives.packing.context import CurrentPass, PassContext
from loratory.objectives.packing.dropout import DropoutKeys
from loratory.objectives.packing.gradients import GradientSink
from loratory.objectives.packing.linear import FrozenWeight, PackedLinear
from loratory.objectives.packing.loss import (
    CHUNK_NUMBERS,
    linear_cross_entropy,
    negative_log_likelihoods,
    own_head_cross_entropy,
)
from loratory.objectives.packing.own_head import OwnHead
from loratory.objectives.packing.passes import PassInputs
from loratory.objectives.packing.stack import AdapterStack

# Models that do nothing to the product of the output head, so that head and loss can be one function.
_PLAIN_HEADS = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}


def is_of_transformers(model: Any) -> bool:
    """Return False for a model whose code comes with its base: classes there have the names of others."""
    return type(model).__module__.startswith("transformers.models.")


class PackedModel:
    """A transformers causal language model whose layers are replaced in place; its weights stay as they are.

    Attributes:
        model: the model.
        device: of the model.
        compute_dtype: of activations and dequantised matrices.
        context: the context of all layers; `enter_pass` enters passes into it.
        layers: full name to (inputs, outputs) of each linear layer that can have adapters.
        holds_base: whether the dequantised matrices are kept in memory.
        concatenates: whether the sequences of a pass are concatenated in one row. Otherwise each is a row of
            its own, and the model's own attention runs.
        alone: whether a pass has one sequence only.
        logits_per_chunk: logits that a loss has in memory at once; a smaller number takes less memory. Graphs
            that were captured before keep theirs.
    """

    def __init__(
        self,
        model: Any,
        layers: Iterable[str],
        *,
        device: torch.device,
        compute_dtype: torch.dtype,
        frozen_weight: Callable[[Any, torch.dtype], FrozenWeight],
    ) -> None:
        """Replace linear layers and attention.

        Args:
            model: frozen.
            layers: full names of the linear layers.
            device: of the model.
            compute_dtype: of activations and of the matrices that passes read.
            frozen_weight: reads a linear layer in the compute dtype; the base's format has it.
        """
        self.model, self.device, self.compute_dtype = model, device, compute_dtype
        self._frozen_weight = frozen_weight
        self.context = PassContext()
        self.holds_base = False
        self._packed = {name: self._replace(name) for name in layers}
        self.layers = {name: (p.in_features, p.out_features) for name, p in self._packed.items()}
        self.concatenates, self.alone = True, False
        self._own_attention = model.config._attn_implementation
        install_attention(model, self.context)
        model.set_attn_implementation(IMPLEMENTATION)
        self.logits_per_chunk = CHUNK_NUMBERS
        self._plain_head = type(model).__name__ in _PLAIN_HEADS and is_of_transformers(model)
        self._own_head = OwnHead(model, self.layers)
        self._intercept: Callable[[torch.Tensor], torch.Tensor] | None = None

    def _replace(self, name: str) -> PackedLinear:
        """Put a `PackedLinear` in the place of a linear layer."""
        parent, _, leaf = name.rpartition(".")
        linear = self.model.get_submodule(name)
        weight = self._frozen_weight(linear, self.compute_dtype)
        bias = None if linear.bias is None else linear.bias.detach().to(self.compute_dtype)
        packed = PackedLinear(name, weight, bias, self.context)
        setattr(self.model.get_submodule(parent), leaf, packed)
        return packed

    def keep_rows_apart(self, *, alone: bool = False) -> None:
        """Return to the model's own attention, with each sequence in a row of its own.

        Args:
            alone: whether each sequence is to have a pass of its own too.
        """
        self.concatenates, self.alone = False, alone
        self.model.set_attn_implementation(self._own_attention)

    @contextlib.contextmanager
    def own_attention(self) -> Iterator[None]:
        """Let the model's own attention run inside a `with` block, with a cache and masks of its own."""
        self.model.set_attn_implementation(self._own_attention)
        try:
            yield
        finally:
            if self.concatenates:
                self.model.set_attn_implementation(IMPLEMENTATION)

    @contextlib.contextmanager
    def intercept_logits(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
        """Let `logits` return what `change` makes of the logits, inside a `with` block."""
        self._intercept = change
        try:
            yield
        finally:
            self._intercept = None

    def hold_base(self) -> None:
        """Keep every matrix dequantised from now on: same results, more memory, less time."""
        for packed in self._packed.values():
            packed.frozen.hold()
        self.holds_base = True

    def release_base(self) -> None:
        """Dequantise every matrix in each pass from now on."""
        for packed in self._packed.values():
            packed.frozen.release()
        self.holds_base = False

    @property
    def held_bytes(self) -> int:
        """Bytes of the dequantised matrices, if they are kept; 0 for an unquantised base."""
        weights = [packed.frozen for packed in self._packed.values() if not packed.frozen.stored]
        numbers = sum(weight.inputs * weight.outputs for weight in weights)
        return numbers * torch.finfo(self.compute_dtype).bits // 8

    @property
    def head(self) -> torch.Tensor:
        """The matrix of the output head, [V, width]."""
        weight: torch.Tensor = self.model.get_output_embeddings().weight
        return weight

    @property
    def fused_attention(self) -> bool:
        """True if one kernel attends to sequences of any lengths, so that passes can be captured.

        Flash attention has none for GPUs before Ampere (compute capability 8.0), such as T4 and V100.
        """
        half = self.compute_dtype in (torch.bfloat16, torch.float16)
        if not (self.concatenates and self.device.type == "cuda" and half):
            return False
        return torch.cuda.get_device_capability(self.device) >= (8, 0)

    def enter_pass(
        self,
        inputs: PassInputs,
        stack: AdapterStack,
        *,
        gradients: GradientSink | None = None,
        thresholds: torch.Tensor | None = None,
        attention: SequenceLayout | None = None,
    ) -> AbstractContextManager[CurrentPass]:
        """Let the layers work on a pass, forward and backward, inside a `with` block.

        Args:
            inputs: the pass.
            stack: the adapters.
            gradients: where the backward pass adds the adapters' gradients; None where nothing trains.
            thresholds: int32 [K], each slot's dropout; None where nothing is dropped.
            attention: which tokens see which; by default the pass's own sequences.
        """
        dropout = None
        if thresholds is not None:
            dropout = DropoutKeys(tokens=inputs.dropout_keys, thresholds=thresholds)
        current = CurrentPass(
            stack=stack,
            segments=inputs.segments,
            gradients=gradients,
            dropout=dropout,
            attention=(attention or self.layout(inputs)) if self.concatenates else None,
        )
        return self.context.enter(current)

    def layout(self, inputs: PassInputs) -> SequenceLayout:
        """Return the attention over a pass's own sequences."""
        if self.device.type == "meta":
            return DryLayout()
        if self.fused_attention:
            return FlashLayout(inputs.ends, inputs.shape.longest)
        return PaddedLayout.of(inputs.ends.tolist(), self.device)

    def losses(self, inputs: PassInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute the weighted loss of the current pass, a scalar, and the loss of each target, fp32 [N].

        The losses of the targets have no gradient.
        """
        parts = (inputs.places, inputs.targets, inputs.weights)
        if self._plain_head:
            hidden, chunk = self._hidden(inputs), self.logits_per_chunk
            return linear_cross_entropy(hidden, self.head, *parts, chunk_numbers=chunk)
        if self._own_head.in_pieces:
            return self._losses_in_pieces(inputs)
        losses = negative_log_likelihoods(self._logits(inputs), inputs.targets)
        return torch.where(inputs.weights > 0, losses * inputs.weights, 0.0).sum(), losses.detach()

    def _losses_in_pieces(self, inputs: PassInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """Compute what `losses` does, with the model's own head on some targets at a time."""
        hidden, logits_of = self._own_head.split(lambda: self._call(self.model, inputs).logits[0])
        return own_head_cross_entropy(
            hidden,
            logits_of,
            inputs.places,
            inputs.targets,
            inputs.weights,
            vocabulary=self.head.shape[0],
            chunk_numbers=self.logits_per_chunk,
        )

    def logits(self, inputs: PassInputs) -> torch.Tensor:
        """Compute the logits [N, V] of the targets of the current pass."""
        logits = self._logits(inputs)
        return logits if self._intercept is None else self._intercept(logits)

    def _logits(self, inputs: PassInputs) -> torch.Tensor:
        if self._plain_head:
            return self._hidden(inputs)[inputs.places.long()] @ self.head.t()
        return self._own_head.whole(lambda: self._call(self.model, inputs).logits[0], inputs.places)

    def _hidden(self, inputs: PassInputs) -> torch.Tensor:
        """Compute the input of the output head, [T, width]."""
        output: torch.Tensor = self._call(self.model.base_model, inputs).last_hidden_state
        return output.flatten(0, 1)

    def _call(self, module: Any, inputs: PassInputs) -> Any:
        """Call the model or a part of it on the tokens of a pass."""
        if inputs.shape.row:  # causal attention never sees padding, which follows all tokens of its row
            return module(input_ids=inputs.input_ids.view(-1, inputs.shape.row), use_cache=False)
        return module(input_ids=inputs.input_ids, position_ids=inputs.position_ids, use_cache=False)
