"""Optimiser, clipping and loss scale of one slot, over the slot's row of the pack's flat tensors."""

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from loratory.objectives.packing.moments import MomentStorage
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
        storage: MomentStorage | None = None,
    ) -> None:
        """Take over the rows of a slot.

        Args:
            rows: matrices, which are updated in place, and gradient, which each step zeroes.
            rule: the update rule.
            weight_decay: decoupled weight decay, as in AdamW.
            max_grad_norm: gradients are clipped to this norm; None turns it off.
            loss_scaling: whether the losses are scaled (fp16).
            storage: where the moments are kept; None: on the device, in the dtype of the master weights.
        """
        self._gradient, self._limit = rows.gradient, math.inf if max_grad_norm is None else max_grad_norm
        self._begun = False
        self._optimizer, self._moments, self._steps = rule.build(
            rows, weight_decay=weight_decay, storage=storage
        )
        self.scaler = torch.amp.GradScaler(rows.master.device.type, enabled=loss_scaling)
        # A scaler makes its scale in its first call of `scale`; none follows, since loss weights include it.
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
        return dict(self.moment_rows())

    def moment_rows(self, *, on_cpu: bool = False) -> Iterator[tuple[str, torch.Tensor]]:
        """Yield the name and value of each of `moments`, one after the other.

        Whatever the storage, moments are in the dtype of the master weights, so that they can be restored in
        another. Offloaded ones are on the CPU.

        Args:
            on_cpu: take no device memory for them.
        """
        if self._begun:
            yield "step", self._steps[0].to("cpu") if on_cpu else self._steps[0]
            yield from self._moments.rows(on_cpu=on_cpu)

    def restore(self, moments: Mapping[str, torch.Tensor], scaler: Mapping[str, Any]) -> None:
        """Load moments, step count and loss scale, to continue from them."""
        for name, value in moments.items():
            if name == "step":
                self._steps.copy_(value)
            else:
                self._moments.load(name, value)
        self._begun = self._begun or bool(moments)
        self.scaler.load_state_dict(dict(scaler))

    def _clip(self) -> torch.Tensor:
        """Divide the gradient by the loss scale and clip it; return its norm before clipping."""
        self.scaler.unscale_(self._optimizer)
        norm: torch.Tensor = torch.linalg.vector_norm(self._gradient)
        if math.isfinite(self._limit):
            self._gradient.mul_((self._limit / (norm + 1e-6)).clamp(max=1.0))
        return norm
