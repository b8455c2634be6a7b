"""Optimiser, clipping and loss scale of one slot, over the slot's row of the pack's flat tensors."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from loratory.objectives.packing.update_rules import SlotRows, UpdateRule


class SlotOptimizer:
    """The optimiser of one slot, independent of other slots; moments start at zero.

    Attributes:
        scaler: loss scale for fp16; does nothing in other formats.
    """

    def __init__(
        self,
        rows: SlotRows,
        rule: UpdateRule,
        *,
        weight_decay: float,
        max_grad_norm: float | None,
        loss_scaling: bool,
    ) -> None:
        """Take over the rows of a slot.

        Args:
            rows: matrices, which are updated in place, and gradient, which each step zeroes.
            rule: the update rule.
            weight_decay: decoupled weight decay, as in AdamW.
            max_grad_norm: gradients are clipped to this norm; None turns it off.
            loss_scaling: whether the losses are scaled (fp16).
        """
        self._gradient, self._limit = rows.gradient, math.inf if max_grad_norm is None else max_grad_norm
        self._begun = False
        self._optimizer, self._moments, self._steps = rule.build(rows, weight_decay=weight_decay)
        self.scaler = torch.amp.GradScaler(rows.master.device.type, enabled=loss_scaling)
        # A scaler makes its scale in its first `scale` call. No other follows: loss weights include it.
        self.scaler.scale(rows.gradient.new_zeros(()))
        rows.gradient.zero_()

    @property
    def loss_scale(self) -> float:
        """Factor for the weights of the losses."""
        return float(self.scaler.get_scale())

    @torch.no_grad()
    def step(self, learning_rate: float) -> torch.Tensor:
        """Clip and apply the gradient, and zero it.

        If this raises, it can be called again after the gradient was recomputed.

        Returns:
            Global norm of the gradient before clipping, a scalar on the device. Does not wait for the device,
            except under a loss scale.
        """
        try:
            norm = self._clip()
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate * group["ratio"]
            self.scaler.step(self._optimizer)
        except Exception:
            # Setting the same scale resets the scaler, which would otherwise be in the middle of a step.
            self.scaler.update(self.scaler.get_scale())
            raise
        self._begun = True
        self.scaler.update()
        self._gradient.zero_()
        return norm

    def moments(self) -> dict[str, torch.Tensor]:
        """Both moments [P] and the step count [], by AdamW's names; empty before the first step.

        Their memory is allocated from the beginning, but zero moments need not be saved.
        """
        return {"step": self._steps[0], **self._moments} if self._begun else {}

    def restore(self, moments: Mapping[str, torch.Tensor], scaler: Mapping[str, Any]) -> None:
        """Load moments, step count and loss scale, to continue from them."""
        for name, value in moments.items():
            (self._steps if name == "step" else self._moments[name]).copy_(value)
        self._begun = self._begun or bool(moments)
        self.scaler.load_state_dict(dict(scaler))

    def _clip(self) -> torch.Tensor:
        """Divide the gradient by the loss scale and clip it; return its norm before clipping."""
        self.scaler.unscale_(self._optimizer)
        norm: torch.Tensor = torch.linalg.vector_norm(self._gradient)
        if math.isfinite(self._limit):
            self._gradient.mul_((self._limit / (norm + 1e-6)).clamp(max=1.0))
        return norm
