"""A probe that runs a model packed and unpacked, to tell whether its sequences may be concatenated."""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import torch

from loratory.objectives.packing.attention import AttentionCall, SequenceLayout
from loratory.objectives.packing.gradients import GradientSink
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.out_of_memory import device_is_lost, is_out_of_memory
from loratory.objectives.packing.passes import PassInputs, lay_out
from loratory.objectives.packing.probe import Reference
from loratory.objectives.packing.shapes import Piece, exact_shape, granule_on, rows_shape
from loratory.objectives.packing.stack import AdapterStack


@dataclass(frozen=True)
class _RecordingLayout:
    """Attention over the sequences of a pass that keeps what layers asked for."""

    inner: SequenceLayout
    calls: list[AttentionCall] = field(default_factory=list)

    def attend(self, call: AttentionCall) -> torch.Tensor:
        """Attend, see `SequenceLayout`."""
        self.calls.append(call)
        return self.inner.attend(call)


class PackingProbe:
    """Compares the logits of packed sequences with those of each alone under the model's attention.

    Attributes:
        reference: the sequences and the expected logits.
        calls: what attention layers asked for in the packed pass; empty before `why_not`, and where the model
            does not call transformers' attention interface.
    """

    def __init__(
        self,
        model: Any,
        device: torch.device,
        *,
        avoid: Collection[int] = (),
        longest: int | None = None,
    ) -> None:
        """Compute the expected logits; for the arguments see `probe.Reference`."""
        self.reference = Reference(model, device, avoid=avoid, longest=longest)
        self.calls: list[AttentionCall] = []
        switches = rope_switches(model.config)
        self._switched = [rope_type for rope_type, most in switches if longest is None or longest > most]

    @property
    def depends_on_lengths(self) -> bool:
        """True if a long sequence of the data changes what shorter ones in its pass get."""
        return bool(self._switched)

    @torch.no_grad()
    def why_not(self, packed: PackedModel) -> str | None:
        """Return the reason why sequences must not be concatenated; None where they may be."""
        if self.depends_on_lengths:
            rope_type = self._switched[0]
            return f"its rotary embedding ({rope_type}) depends on the longest sequence of a pass"
        wrong = self._why_wrong(lambda: self._concatenated(packed), packed)
        if wrong is None and not self.calls:
            # Such models may have buffers as long as a sequence may be, and passes are longer.
            wrong = self._why_wrong(
                lambda: self._concatenated(packed, repeat=self._past_the_end(packed)), packed
            )
        return f"its sequences see each other when they stand in one row ({wrong})" if wrong else None

    def why_not_trained(self, packed: PackedModel) -> str | None:
        """Return the reason why no adapter can be trained; None where it can."""
        stack = self._stack(packed)
        with torch.no_grad():
            stack.master.fill_(1e-3)  # where A and B are zero, so are their gradients
        stack.refresh(0)
        pieces = [replace(piece, slot=0, weight=1.0) for piece in self._pieces]
        inputs = self._inputs(packed, pieces if packed.concatenates else pieces[-1:])
        sink = GradientSink(stack)
        try:
            with packed.enter_pass(inputs, stack, gradients=sink) as current:
                current.backward(packed.losses(inputs)[0])
        except Exception as error:
            return reason(error)
        return None if bool(sink.flat.any()) else "no gradient reaches its adapters"

    @torch.no_grad()
    def why_not_apart(self, packed: PackedModel) -> str | None:
        """Return the reason why sequences must not share a pass either where each is a row of its own."""
        return self._why_wrong(lambda: self._apart(packed), packed)

    def _why_wrong(self, logits: Callable[[], Sequence[torch.Tensor]], packed: PackedModel) -> str | None:
        """Return what is wrong with the logits of all sequences; None where they are right."""
        try:
            got = logits()
        except Exception as error:
            return reason(error)
        return self.reference.why_wrong(got, packed.compute_dtype)

    def _past_the_end(self, packed: PackedModel) -> int:
        """Return how often to repeat the sequences for a pass longer than the base's longest sequence."""
        positions = getattr(packed.model.config.get_text_config(), "max_position_embeddings", None) or 0
        return 1 + positions // sum(len(sequence.input_ids) for sequence in self.reference.sequences)

    def _concatenated(self, packed: PackedModel, *, repeat: int = 1) -> Sequence[torch.Tensor]:
        """Compute the logits in one row; where sequences are repeated, those of the last time."""
        pieces = self._pieces * repeat
        return self._run(packed, pieces)[-len(self._pieces) :]

    def _apart(self, packed: PackedModel) -> Sequence[torch.Tensor]:
        """Compute the logits in rows apart, in one pass or each in its own."""
        passes = [[piece] for piece in self._pieces] if packed.alone else [self._pieces]
        return [logits for pieces in passes for logits in self._run(packed, pieces)]

    @property
    def _pieces(self) -> list[Piece]:
        return [
            Piece(slot=-1, input_ids=s.input_ids, first=len(s.prompt) - 1, targets=s.answer)
            for s in self.reference.sequences
        ]

    def _run(self, packed: PackedModel, pieces: Sequence[Piece]) -> Sequence[torch.Tensor]:
        """Compute the logits of sequences in one pass without adapters."""
        inputs = self._inputs(packed, pieces)
        layout = _RecordingLayout(packed.layout(inputs), self.calls) if packed.concatenates else None
        with packed.enter_pass(inputs, self._stack(packed), attention=layout):
            logits = packed.logits(inputs).float()
        return logits.split_with_sizes([len(piece.targets) for piece in pieces])

    def _inputs(self, packed: PackedModel, pieces: Sequence[Piece]) -> PassInputs:
        shape = exact_shape if packed.concatenates else rows_shape
        host = lay_out(pieces, shape(pieces, slots=1, granule=granule_on(packed.device)))
        buffer = torch.from_numpy(host.buffer).to(packed.device)
        return PassInputs.over(buffer, host.shape, host.spans)

    def _stack(self, packed: PackedModel) -> AdapterStack:
        """Return an adapter of zeros."""
        return AdapterStack(
            packed.layers, slots=1, rank=8, device=packed.device, compute_dtype=packed.compute_dtype
        )


def reason(error: Exception) -> str:
    """Return an exception as a reason for taking another way.

    Raises:
        Exception: the same one, where another way would not help: memory ran out, or the device is lost.
    """
    if is_out_of_memory(error) or device_is_lost(error):
        raise error
    return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"


def rope_switches(config: Any) -> Iterator[tuple[str, int]]:
    """Yield the rotary embeddings that rotate otherwise in long passes, each with the longest other pass.

    Args:
        config: a transformers configuration.
    """
    text = config.get_text_config()
    parameters = getattr(text, "rope_parameters", None) or {}
    # Where kinds of layers differ, each has parameters of its own.
    for rope in (parameters, *(part for part in parameters.values() if isinstance(part, dict))):
        match rope.get("rope_type"):
            case "longrope":
                original = rope.get("original_max_position_embeddings")
                yield "longrope", original or getattr(text, "original_max_position_embeddings", None) or 0
            case "dynamic":
                yield "dynamic", getattr(text, "max_position_embeddings", None) or 0
