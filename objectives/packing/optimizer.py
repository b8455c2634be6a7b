"""Optimiser, clipping and loss scale of one slot, over its own row of the pack's flat tensors."""

import math
from collections.abc import Mapping
from typing import Any

import torch

from loratory.objectives.packing.update_rules import SlotRows, UpdateRule


class SlotOptimizer:
    """An optimiser with zero moments; nothing of it is shared with other slots.

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
            rows: the matrices are updated in place, the gradient is zeroed by each step.
            rule: how they are updated.
            weight_decay: decoupled, as AdamW has it.
            max_grad_norm: gradients are clipped to this norm; None turns it off.
            loss_scaling: whether the losses are scaled (fp16).
        """
        self._gradient, self._limit = rows.gradient, math.inf if max_grad_norm is None else max_grad_norm
        self._begun = False
        self._optimizer, self._moments, self._steps = rule.build(rows, weight_decay=weight_decay)
        self.scaler = torch.amp.GradScaler(rows.master.device.type, enabled=loss_scaling)
        # It makes its scale when it first scales something, which it never does here: the weights include it.
        self.scaler.scale(rows.gradient.new_zeros(()))
        rows.gradient.zero_()

    @property
    def loss_scale(self) -> float:
        """What the weights of the losses are multiplied with."""
        return float(self.scaler.get_scale())

    @torch.no_grad()
    def step(self, learning_rate: float) -> torch.Tensor:
        """Clip and apply the gradient, and zero it.

        Where this raises it can be called again, with a gradient that was added up anew.

        Returns:
            Its global norm before clipping, a scalar. Nothing waits for it, except under a loss scale.
        """
        try:
            norm = self._clip()
            for group in self._optimizer.param_groups:
                group["lr"] = learning_rate * group["ratio"]
            self.scaler.step(self._optimizer)
        except Exception:
            # The same scale again: that makes the scaler forget that it is in the middle of a step.
            self.scaler.update(self.scaler.get_scale())
            raise
        self._begun = True
        self.scaler.update()
        self._gradient.zero_()
        return norm

    def moments(self) -> dict[str, torch.Tensor]:
        """Both moments [P] and the step count [], by AdamW's names; empty before the first step.

        They have their memory from the beginning, but as long as they are zero nobody needs to keep them.
        """
        return {"step": self._steps[0], **self._moments} if self._begun else {}

    def restore(self, moments: Mapping[str, torch.Tensor], scaler: Mapping[str, Any]) -> None:
        """Go on from moments, step count and loss scale."""
        for name, value in moments.items():
            (self._steps if name == "step" else self._moments[name]).copy_(value)
        self._begun = self._begun or bool(moments)
        self.scaler.load_state_dict(dict(scaler))

    def _clip(self) -> torch.Tensor:
        """Take the loss scale out of the gradient and clip it; gives its norm before clipping."""
        self.scaler.unscale_(self._optimizer)
        norm: torch.Tensor = torch.linalg.vector_norm(self._gradient)
        if math.isfinite(self._limit):
            self._gradient.mul_((self._limit / (norm + 1e-6)).clamp(max=1.0))
        return norm
