"""A probe that runs a model packed and unpacked, to tell whether its sequences may be concatenated."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from loratory.objectives.packing.attention import AttentionCall, SequenceLayout
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.out_of_memory import device_is_lost, is_out_of_memory
from loratory.objectives.packing.passes import lay_out
from loratory.objectives.packing.probe import Reference
from loratory.objectives.packing.shapes import Piece, exact_shape, rows_shape
from loratory.objectives.packing.stack import AdapterStack

_GRANULE = 32


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
        wrong = self._why_wrong(packed, apart=False)
        return f"its sequences see each other when they stand in one row ({wrong})" if wrong else None

    @torch.no_grad()
    def why_not_apart(self, packed: PackedModel) -> str | None:
        """Return the reason why sequences must not share a pass either where each is a row of its own."""
        return self._why_wrong(packed, apart=True)

    def _why_wrong(self, packed: PackedModel, *, apart: bool) -> str | None:
        """Return what is wrong with the logits of a pass over all sequences; None where they are right."""
        try:
            logits = self._logits(packed, apart=apart)
        except Exception as error:
            return reason(error)
        return self.reference.why_wrong(logits, packed.compute_dtype)

    def _logits(self, packed: PackedModel, *, apart: bool) -> Sequence[torch.Tensor]:
        pieces = [
            Piece(slot=-1, input_ids=s.input_ids, first=len(s.prompt) - 1, targets=s.answer)
            for s in self.reference.sequences
        ]
        host = lay_out(pieces, (rows_shape if apart else exact_shape)(pieces, slots=1, granule=_GRANULE))
        stack = AdapterStack(
            packed.layers, slots=1, rank=8, device=packed.device, compute_dtype=packed.compute_dtype
        )
        buffer = torch.from_numpy(host.buffer).to(packed.device)
        inputs = type(host.inputs).over(buffer, host.shape, host.spans)
        layout = None if apart else _RecordingLayout(packed.layout(inputs), self.calls)
        with packed.enter_pass(inputs, stack, attention=layout):
            logits = packed.logits(inputs).float()
        return logits.split([len(piece.targets) for piece in pieces])


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
                yield "longrope", original or getattr(text, "original_max_position_embeddings", 0)
            case "dynamic":
                yield "dynamic", getattr(text, "max_position_embeddings", 0)
