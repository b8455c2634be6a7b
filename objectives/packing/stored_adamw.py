"""AdamW over a slot's row whose moments are kept in 8-bit codes, in host memory, or both."""

from collections.abc import Callable, Sequence
from typing import Any

import torch

from loratory.objectives.packing.kernels.adamw_8bit import AdamWStep
from loratory.objectives.packing.moment_formats import RowStep, Spans
from loratory.objectives.packing.moments import StoredMoments


class StoredAdamW(torch.optim.Optimizer):
    """AdamW with a ratio of learning rates per span.

    The whole row is one parameter, so that a `GradScaler` can unscale its gradient; a step that the scaler
    skips does not happen: `step` is not called, and moments and step count stay as they were.

    Attributes:
        steps: fp32 [1] on the CPU, the number of steps.
    """

    def __init__(
        self,
        master: torch.Tensor,
        gradient: torch.Tensor,
        moments: StoredMoments,
        groups: Sequence[tuple[float, Spans]],
        *,
        weight_decay: float,
        betas: tuple[float, float],
        epsilon: float,
    ) -> None:
        """Take over a row.

        Args:
            master: [P], updated in place.
            gradient: [P].
            moments: the moments.
            groups: one or two pairs of a ratio to the learning rate, the first of which is 1, and the spans
                that have it; together they cover the row.
            weight_decay: decoupled weight decay.
            betas: of the two moments.
            epsilon: added to the root of the second moment.
        """
        parameter = torch.nn.Parameter(master)
        parameter.grad = gradient
        super().__init__([{"params": [parameter], "ratio": 1.0}], {"lr": 0.0})
        self.steps = torch.zeros(1)
        self._master, self._gradient, self._moments = master, gradient, moments
        self._groups = [(ratio, _bounded(spans, len(master))) for ratio, spans in groups]
        ratio, spans = self._groups[1] if len(groups) > 1 else (1.0, [])
        edges = [edge for span in spans for edge in (span.start, span.stop)]
        self._settings: dict[str, Any] = {
            "ratio": ratio,
            "edges": torch.tensor(edges, device=master.device) if edges else None,
            "weight_decay": weight_decay,
            "betas": betas,
            "epsilon": epsilon,
        }

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]  # noqa: ARG002
        """Update the row and its moments from the gradient."""
        rate, number = self.param_groups[0]["lr"], int(self.steps) + 1
        common = AdamWStep(number=number, learning_rate=rate, **self._settings)
        self._moments.update(self._master, self._gradient, RowStep(common=common, groups=self._groups))
        self.steps += 1


def _bounded(spans: Spans, numbers: int) -> Spans:
    """Return spans of a row with both ends as numbers."""
    return [slice(*span.indices(numbers)[:2]) for span in spans]
