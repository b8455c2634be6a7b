"""AdamW, clipping and loss scale of one slot, over its own row of the pack's flat tensors."""

import math
from collections.abc import Mapping
from typing import Any

import torch

BETAS, EPSILON = (0.9, 0.999), 1e-8


class SlotOptimizer:
    """AdamW with zero moments (Loshchilov and Hutter, 2019); nothing of it is shared with other slots.

    Attributes:
        scaler: loss scale for fp16; does nothing in other formats.
    """

    def __init__(
        self,
        master: torch.Tensor,
        gradient: torch.Tensor,
        *,
        weight_decay: float,
        max_grad_norm: float | None,
        loss_scaling: bool,
    ) -> None:
        """Take over a row.

        Args:
            master: [P], the slot's matrices; updated in place.
            gradient: [P], what passes add to; zeroed by each step.
            weight_decay: decoupled, as AdamW has it.
            max_grad_norm: gradients are clipped to this norm; None turns it off.
            loss_scaling: whether the losses are scaled (fp16).
        """
        parameter = torch.nn.Parameter(master)
        parameter.grad = gradient
        self._gradient, self._limit = gradient, math.inf if max_grad_norm is None else max_grad_norm
        self._begun = False
        self._adamw = torch.optim.AdamW(
            [parameter], lr=0.0, betas=BETAS, eps=EPSILON, weight_decay=weight_decay, fused=True
        )
        # AdamW would make these in its first step, and stay half made where memory ends there.
        self._moments = {
            "step": torch.zeros((), dtype=torch.float32, device=master.device),
            "exp_avg": torch.zeros_like(parameter),
            "exp_avg_sq": torch.zeros_like(parameter),
        }
        self._adamw.state[parameter] = self._moments
        self.scaler = torch.amp.GradScaler(master.device.type, enabled=loss_scaling)
        # It makes its scale when it first scales something, which it never does here: the weights include it.
        self.scaler.scale(gradient.new_zeros(()))
        gradient.zero_()

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
            self._adamw.param_groups[0]["lr"] = learning_rate
            self.scaler.step(self._adamw)
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
        return dict(self._moments) if self._begun else {}

    def restore(self, moments: Mapping[str, torch.Tensor], scaler: Mapping[str, Any]) -> None:
        """Go on from moments, step count and loss scale."""
        for name, value in moments.items():
            self._moments[name].copy_(value)
        self._begun = self._begun or bool(moments)
        self.scaler.load_state_dict(dict(scaler))

    def _clip(self) -> torch.Tensor:
        """Take the loss scale out of the gradient and clip it; gives its norm before clipping."""
        self.scaler.unscale_(self._adamw)
        norm: torch.Tensor = torch.linalg.vector_norm(self._gradient)
        if math.isfinite(self._limit):
            self._gradient.mul_((self._limit / (norm + 1e-6)).clamp(max=1.0))
        return norm
