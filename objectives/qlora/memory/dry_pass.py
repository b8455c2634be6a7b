"""Activations of a pass from a configuration alone: it runs on the meta device, where tensors have no data.

The layers, the loss and autograd are those of real passes, so this holds for any architecture; only kernels
are replaced, by twins that allocate what they allocate (`packing/kernels/dry.py`).
"""

import copy
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from loratory.objectives.packing.fused import fuse
from loratory.objectives.packing.linear import FrozenWeight
from loratory.objectives.packing.live_bytes import LiveBytes
from loratory.objectives.packing.loss import chunk_of_targets
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.pack import Pack
from loratory.objectives.packing.passes import padding_pass
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.shapes import PassShape, round_up
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base.loading import checkpoint_activations
from loratory.objectives.qlora.memory.engine_size import StackSize

META = torch.device("meta")
_GRANULE, _FEWEST = 32, 256  # tokens
_SHALLOW = 2  # layers
# Kinds of attention layers differ in what is seen, not in what is kept.
_ATTENTION = {"full_attention", "sliding_attention", "chunked_attention"}


@dataclass(frozen=True)
class ActivationCurve:
    """Peak bytes of a pass's tensors by its number of tokens, linear between its points and past them.

    Attributes:
        points: (tokens, bytes) in ascending order, at least two.
    """

    points: tuple[tuple[int, int], ...]

    def __call__(self, tokens: int) -> int:
        """Return the bytes of a pass of `tokens` tokens."""
        lower, upper = next(
            ((a, b) for a, b in pairwise(self.points) if tokens <= b[0]), (self.points[-2], self.points[-1])
        )
        slope = (upper[1] - lower[1]) / (upper[0] - lower[0])
        return max(0, math.ceil(lower[1] + slope * (tokens - lower[0])))


@dataclass(frozen=True, kw_only=True)
class PassActivations:
    """Curves of the passes of a base.

    Attributes:
        training: forward and backward.
        checkpointed: the same with activations recomputed in the backward pass.
        forward: without gradients.
    """

    training: ActivationCurve
    checkpointed: ActivationCurve
    forward: ActivationCurve


def pass_activations(
    build: Callable[[Any], Any],
    configuration: Any,
    stack: StackSize,
    *,
    dtype: torch.dtype,
    longest: int,
) -> PassActivations:
    """Count the activations of passes on the meta device.

    Args:
        build: makes a model on the meta device from a configuration.
        configuration: the base's transformers configuration.
        stack: sizes of the adapters.
        dtype: compute dtype.
        longest: tokens of the longest sequence; matters where each sequence is a row of its own.

    Raises:
        Exception: the model cannot run on the meta device, as one whose code reads numbers.
    """
    layers = configuration.get_text_config().num_hidden_layers
    depths = _depths(configuration)
    counted = [
        _activations(build, _with_layers(configuration, depth), stack, dtype=dtype, longest=longest)
        for depth in depths
    ]
    if len(depths) == 1:
        return counted[0]
    beyond = (layers - depths[0]) / (depths[1] - depths[0])
    shallow, deeper = counted
    return PassActivations(
        training=_extrapolated(shallow.training, deeper.training, beyond),
        checkpointed=_extrapolated(shallow.checkpointed, deeper.checkpointed, beyond),
        forward=_extrapolated(shallow.forward, deeper.forward, beyond),
    )


def _depths(configuration: Any) -> list[int]:
    """Return two shallow depths with all kinds of layers in their proportion, or the whole depth."""
    text = configuration.get_text_config()
    layers = text.num_hidden_layers
    kinds = getattr(text, "layer_types", None) or ["one"] * layers
    kinds = ["attention" if kind in _ATTENTION else kind for kind in kinds]
    period = next(n for n in range(1, layers + 1) if kinds == (kinds[:n] * layers)[:layers])
    shallow = max(_SHALLOW, period)
    return [shallow, 2 * shallow] if 2 * shallow < layers else [layers]


def _with_layers(configuration: Any, depth: int) -> Any:
    shallow = copy.deepcopy(configuration)
    text = shallow.get_text_config()
    if getattr(text, "layer_types", None):
        text.layer_types = text.layer_types[:depth]
    text.num_hidden_layers = depth
    return shallow


def _activations(
    build: Callable[[Any], Any], configuration: Any, stack: StackSize, *, dtype: torch.dtype, longest: int
) -> PassActivations:
    """Count the activations of one model."""
    pack = _dry_pack(build(copy.deepcopy(configuration)), stack, dtype, checkpointing=False)
    again = _dry_pack(build(copy.deepcopy(configuration)), stack, dtype, checkpointing=True)
    return PassActivations(
        training=_curve(pack, pack.train_work, longest),
        checkpointed=_curve(again, again.train_work, longest),
        forward=_curve(pack, _losses(pack), longest),
    )


def _curve(pack: Pack, work: Callable[[Any], torch.Tensor], longest: int) -> ActivationCurve:
    if pack.model.concatenates:
        sizes = _sizes(pack.model.head.shape[0])
        try:
            return ActivationCurve(tuple((tokens, _peak(tokens, work)) for tokens in sizes))
        except NotImplementedError:  # its attention asks for more than that of packs has
            pack.model.keep_rows_apart()
    row = round_up(longest, _GRANULE)
    return ActivationCurve(tuple((n * row, _peak(n * row, work, row=row)) for n in (1, 2)))


def _sizes(vocabulary: int) -> Sequence[int]:
    """Return the numbers of tokens to try: the loss works on chunks, so one chunk is a bend of the curve."""
    chunk = chunk_of_targets(vocabulary)
    return sorted({_FEWEST, max(chunk, 2 * _FEWEST), 4 * max(chunk, 2 * _FEWEST)})


def _dry_pack(model: Any, stack: StackSize, dtype: torch.dtype, *, checkpointing: bool) -> Pack:
    model = model.to(dtype).eval().requires_grad_(False)
    if checkpointing:
        checkpoint_activations(model)
    fuse(model)
    here = {name for name, _ in model.named_modules()}
    layers = {name: size for name, size in stack.layers.items() if name in here}
    packed = PackedModel(model, _linear(model), device=META, compute_dtype=dtype, frozen_weight=_frozen)
    adapters = AdapterStack(layers, slots=1, rank=stack.rank, device=META, compute_dtype=dtype)
    return Pack(packed, adapters, PassRunner(META, graphs=False), dropout=stack.dropout)


def _linear(model: Any) -> list[str]:
    head = model.get_output_embeddings()
    return [
        name
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    ]


def _frozen(linear: Any, dtype: torch.dtype) -> FrozenWeight:
    """Return a matrix that takes memory while a layer works, as a dequantised one does."""
    inputs, outputs = linear.in_features, linear.out_features
    return FrozenWeight(lambda: torch.empty(outputs, inputs, dtype=dtype, device=META), inputs, outputs)


def _losses(pack: Pack) -> Callable[[Any], torch.Tensor]:
    def work(inputs: Any) -> torch.Tensor:
        with torch.no_grad(), pack.model.enter_pass(inputs, pack.stack):
            return pack.model.losses(inputs)[1]

    return work


def _peak(tokens: int, work: Callable[[Any], torch.Tensor], *, row: int = 0) -> int:
    shape = PassShape(
        tokens=tokens, sequences=4, longest=tokens, targets=tokens, slots=1, granule=_GRANULE, row=row
    )
    inputs = padding_pass(shape, META)
    live = _DryPass()
    with live:
        work(inputs)
    return live.peak


class _DryPass(LiveBytes):  # type: ignore[no-untyped-call]
    """Counts as a pass runs in which every number that the model's code reads is 1."""

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        """Answer reads, leave out products that are added in place, and run and count all else."""
        if func is torch.ops.aten._local_scalar_dense.default:
            return 1
        if func is torch.ops.aten.addmm_.default:  # allocates nothing; on the meta device it takes a quarter
            return args[0]
        return super().__torch_dispatch__(func, types, args, kwargs)


def _extrapolated(shallow: ActivationCurve, deeper: ActivationCurve, beyond: float) -> ActivationCurve:
    """Return the curve `beyond` times the difference of two depths further than the first."""
    return ActivationCurve(
        tuple(
            (tokens, size + round((other - size) * beyond))
            for (tokens, size), (_, other) in zip(shallow.points, deeper.points, strict=True)
        )
    )
