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
        self._adamw = torch.optim.AdamW(
            [parameter], lr=0.0, betas=BETAS, eps=EPSILON, weight_decay=weight_decay, fused=True
        )
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

        Returns:
            Its global norm before clipping, a scalar. Nothing waits for it, except under a loss scale.
        """
        self.scaler.unscale_(self._adamw)
        norm: torch.Tensor = torch.linalg.vector_norm(self._gradient)
        if math.isfinite(self._limit):
            self._gradient.mul_((self._limit / (norm + 1e-6)).clamp(max=1.0))
        self._adamw.param_groups[0]["lr"] = learning_rate
        self.scaler.step(self._adamw)
        self.scaler.update()
        self._gradient.zero_()
        return norm

    def moments(self) -> dict[str, torch.Tensor]:
        """Both moments [P] and the step count [], by AdamW's names; empty before the first step."""
        return dict(next(iter(self._adamw.state.values()), {}))

    def restore(self, moments: Mapping[str, torch.Tensor], scaler: Mapping[str, Any]) -> None:
        """Go on from moments, step count and loss scale."""
        if moments:
            # Copies: AdamW would go on in the tensors that it is given.
            own = {name: value.clone() for name, value in moments.items()}
            self._adamw.load_state_dict(self._adamw.state_dict() | {"state": {0: own}})
        self.scaler.load_state_dict(dict(scaler))
