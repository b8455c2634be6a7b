"""A base whose linear layers carry the adapters of a pack, and whose attention knows sequences apart."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch

from loratory.objectives.packing.attention import (
    IMPLEMENTATION,
    FlashLayout,
    PaddedLayout,
    SequenceLayout,
    install_attention,
)
from loratory.objectives.packing.context import DropoutKeys, PassContext
from loratory.objectives.packing.linear import FrozenWeight, PackedLinear
from loratory.objectives.packing.loss import linear_cross_entropy, losses_of
from loratory.objectives.packing.passes import PassInputs
from loratory.objectives.packing.stack import AdapterStack

# Their logits are the output head's product and nothing else, so that head and loss can be one.
_PLAIN_HEADS = {"LlamaForCausalLM", "MistralForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM"}


class PackedModel:
    """A transformers causal model made ready for packs; it is changed in place, its numbers are not.

    Attributes:
        model: the model.
        device: where it is.
        compute_dtype: of activations and of the matrices that passes read.
        context: the pass at hand.
        layers: full name to (inputs, outputs) of each linear layer that can carry adapters.
        holds_base: whether the dequantised matrices are kept.
        concatenates: whether sequences follow each other in one row; else each has a row of its own, and
            the model's own attention.
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
            device: where the model is.
            compute_dtype: number format to compute in.
            frozen_weight: reads a linear layer in the compute dtype; the base's format has it.
        """
        self.model, self.device, self.compute_dtype = model, device, compute_dtype
        self._frozen_weight = frozen_weight
        self.context = PassContext()
        self.holds_base = False
        self._packed = {name: self._replace(name) for name in layers}
        self.layers = {name: (p.in_features, p.out_features) for name, p in self._packed.items()}
        self.concatenates = True
        self._own_attention = model.config._attn_implementation
        install_attention(model, self.context)
        model.set_attn_implementation(IMPLEMENTATION)
        self._plain_head = type(model).__name__ in _PLAIN_HEADS

    def _replace(self, name: str) -> PackedLinear:
        parent, _, leaf = name.rpartition(".")
        linear = self.model.get_submodule(name)
        weight = self._frozen_weight(linear, self.compute_dtype)
        bias = None if linear.bias is None else linear.bias.detach().to(self.compute_dtype)
        packed = PackedLinear(name, weight, bias, self.context)
        setattr(self.model.get_submodule(parent), leaf, packed)
        return packed

    def keep_rows_apart(self) -> None:
        """Go back to the model's own attention, which sees each sequence in a row of its own."""
        self.concatenates = False
        self.model.set_attn_implementation(self._own_attention)

    def hold_base(self) -> None:
        """Keep every matrix dequantised from now on: the same numbers, more memory, less time."""
        for packed in self._packed.values():
            packed.frozen.hold()
        self.holds_base = True

    def release_base(self) -> None:
        """Dequantise in each pass from now on."""
        for packed in self._packed.values():
            packed.frozen.release()
        self.holds_base = False

    @property
    def held_bytes(self) -> int:
        """Memory that the dequantised matrices take where they are kept; 0 for an unquantised base."""
        weights = [packed.frozen for packed in self._packed.values() if not packed.frozen.stored]
        numbers = sum(weight.inputs * weight.outputs for weight in weights)
        return numbers * torch.finfo(self.compute_dtype).bits // 8

    @property
    def head(self) -> torch.Tensor:
        """The output head [V, width]."""
        weight: torch.Tensor = self.model.get_output_embeddings().weight
        return weight

    @property
    def fused_attention(self) -> bool:
        """Whether sequences of any length are one kernel here, and shapes can repeat in CUDA graphs."""
        half = self.compute_dtype in (torch.bfloat16, torch.float16)
        return self.concatenates and self.device.type == "cuda" and half

    @contextlib.contextmanager
    def reading(
        self,
        inputs: PassInputs,
        stack: AdapterStack,
        *,
        gradients: torch.Tensor | None = None,
        thresholds: torch.Tensor | None = None,
        attention: SequenceLayout | None = None,
    ) -> Iterator[None]:
        """Set the pass at hand, for forward and backward.

        Args:
            inputs: the pass.
            stack: whose adapters it reads.
            gradients: what backward adds to.
            thresholds: int32 [K], of dropout; None where nothing is dropped.
            attention: which tokens see which; the sequences of the pass unless given.
        """
        context = self.context
        context.stack, context.segments, context.gradients = stack, inputs.segments, gradients
        if thresholds is not None:
            context.dropout = DropoutKeys(tokens=inputs.dropout_keys, thresholds=thresholds)
        if self.concatenates:
            context.attention = attention or self.layout(inputs)
        try:
            yield
        finally:
            context.stack = context.segments = context.gradients = None
            context.dropout = context.attention = context.shared = context.inputs = None

    def layout(self, inputs: PassInputs) -> SequenceLayout:
        """The attention of a pass's own sequences."""
        if self.fused_attention:
            return FlashLayout(inputs.ends, inputs.shape.longest)
        return PaddedLayout.of(inputs.ends.tolist(), self.device)

    def losses(self, inputs: PassInputs) -> tuple[torch.Tensor, torch.Tensor]:
        """The weighted loss of the pass at hand, and the negative log likelihood of each target, fp32 [N]."""
        if self._plain_head:
            return linear_cross_entropy(
                self._hidden(inputs), self.head, inputs.places, inputs.targets, inputs.weights
            )
        logits = self.logits(inputs)
        losses = losses_of(logits, inputs.targets)
        return torch.where(inputs.weights > 0, losses * inputs.weights, 0.0).sum(), losses.detach()

    def logits(self, inputs: PassInputs) -> torch.Tensor:
        """Logits [N, V] at the places of the targets."""
        if self._plain_head:
            return self._hidden(inputs)[inputs.places.long()] @ self.head.t()

        def pick(_: Any, arguments: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
            return (arguments[0].flatten(0, 1)[inputs.places.long()].unsqueeze(0), *arguments[1:])

        # The head sees the wanted places alone; what a base does to its logits afterwards stays.
        hook = self.model.get_output_embeddings().register_forward_pre_hook(pick)
        try:
            return self._call(self.model, inputs).logits[0]  # type: ignore[no-any-return]
        finally:
            hook.remove()

    def _hidden(self, inputs: PassInputs) -> torch.Tensor:
        output: torch.Tensor = self._call(self.model.base_model, inputs).last_hidden_state
        return output.flatten(0, 1)

    def _call(self, module: Any, inputs: PassInputs) -> Any:
        if inputs.shape.row:  # padding stands after every real token: causal attention never sees it
            return module(input_ids=inputs.input_ids.view(-1, inputs.shape.row), use_cache=False)
        return module(input_ids=inputs.input_ids, position_ids=inputs.position_ids, use_cache=False)
