"""A probe that runs a model packed and unpacked, to tell whether its sequences may be concatenated."""

from typing import Any

import torch

from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.passes import lay_out
from loratory.objectives.packing.shapes import Piece, exact_shape
from loratory.objectives.packing.stack import AdapterStack

_LENGTHS = (11, 5, 8)
# Differences by rounding; where sequences attend to each other, logits differ by far more.
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.1}
# Rotary embeddings in which the rotation of a token depends on the longest sequence of its pass.
_ROPES_BY_LENGTH = {"dynamic", "longrope"}


class PackingProbe:
    """Compares the logits of packed sequences with those of each alone under the model's attention."""

    def __init__(self, model: Any, device: torch.device) -> None:
        """Compute the expected logits.

        Args:
            model: a causal language model as transformers loaded it.
            device: of the model.
        """
        draw = torch.Generator().manual_seed(0)
        most = model.get_input_embeddings().weight.shape[0]
        self._sequences = [torch.randint(most, (length,), generator=draw).tolist() for length in _LENGTHS]
        with torch.no_grad():
            self._expected = [
                model(input_ids=torch.tensor([ids], device=device), use_cache=False).logits[0, -1].float()
                for ids in self._sequences
            ]

    @torch.no_grad()
    def why_not(self, packed: PackedModel) -> str | None:
        """Return the reason why sequences must not be concatenated; None where they may be."""
        config = packed.model.config.get_text_config()
        rope = getattr(config, "rope_parameters", None) or {}
        if rope.get("rope_type") in _ROPES_BY_LENGTH:
            return f"its rotary embedding ({rope['rope_type']}) depends on the longest sequence of a pass"
        try:
            logits = self._packed_logits(packed)
        except Exception as error:
            return f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
        expected = torch.stack(self._expected)
        difference = ((logits - expected).norm() / expected.norm()).item()
        if not difference < _TOLERANCES[packed.compute_dtype]:
            return (
                f"its sequences see each other when they stand in one row (logits differ by {difference:.0%})"
            )
        return None

    def _packed_logits(self, packed: PackedModel) -> torch.Tensor:
        pieces = [Piece(slot=-1, input_ids=ids, first=len(ids) - 1, targets=(0,)) for ids in self._sequences]
        host = lay_out(pieces, exact_shape(pieces, slots=1, granule=32))
        stack = AdapterStack(
            packed.layers, slots=1, rank=8, device=packed.device, compute_dtype=packed.compute_dtype
        )
        buffer = torch.from_numpy(host.buffer).to(packed.device)
        inputs = type(host.inputs).over(buffer, host.shape, host.spans)
        with packed.enter_pass(inputs, stack):
            return packed.logits(inputs).float()
