"""Updates of trials: launched without waiting for the device, their losses and norms read later."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from loratory.objectives.packing.pack import Pack
from loratory.objectives.qlora.trial.phases import DivergedError
from loratory.objectives.qlora.trial.trial import Trial
from loratory.objectives.records import CurvePoint

# The loss scale starts at 2^16 and halves with every overflow: after this many it is too small to help.
_MOST_SKIPPED_STEPS = 12


class UpdateResult(NamedTuple):
    """The result of one update, which is on its trial's curve where it is a number.

    Attributes:
        trial: whose update.
        error: loss or gradient is not finite; None where they are.
    """

    trial: Trial
    error: DivergedError | None


@dataclass(frozen=True, kw_only=True)
class _Update:
    """An update whose loss and norm are still on the device."""

    trial: Trial
    optimizer_step: int
    tokens_seen: int
    learning_rate: float
    loss_scale: float


class AsyncRead:
    """A copy of a tensor on its way to the CPU; reading it waits for it, not for later work of the device."""

    def __init__(self, tensor: torch.Tensor) -> None:
        """Start the copy.

        Args:
            tensor: on any device.
        """
        self._event: Any = None
        if tensor.device.type == "cuda":
            self._copy = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self._copy.copy_(tensor, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._copy = tensor

    def values(self) -> Any:
        """Return the numbers, as nested lists."""
        if self._event is not None:
            self._event.synchronize()
        return self._copy.tolist()


class UpdateResults:
    """Launched updates, whose results are read after the next ones are launched."""

    def __init__(self) -> None:
        """Start with nothing launched."""
        self._unread: list[tuple[list[_Update], AsyncRead]] = []

    def launch(self, pack: Pack, trials: Sequence[Trial]) -> list[UpdateResult]:
        """Launch the updates of trials whose batches are done; return the results of those before.

        Where one fails, what was launched is kept to be read.
        """
        before, self._unread = self._unread, []
        updates: list[_Update] = []
        results: list[torch.Tensor] = []
        try:
            for trial in trials:
                update, result = _launch(pack, trial)
                updates.append(update)
                results.append(result)
        except BaseException:
            self._unread = before
            raise
        finally:
            if results:
                self._unread.append((updates, AsyncRead(torch.stack(results))))
        return _read(before)

    def collect(self) -> list[UpdateResult]:
        """Read all that was launched."""
        unread, self._unread = self._unread, []
        return _read(unread)


def _launch(pack: Pack, trial: Trial) -> tuple[_Update, torch.Tensor]:
    slot = trial.slot
    learning_rate = trial.plan.learning_rate(trial.progress.optimizer_steps)
    scale = pack.optimizer(slot).loss_scale
    result = pack.update(slot, learning_rate)
    trial.count_update()
    update = _Update(
        trial=trial,
        optimizer_step=trial.progress.optimizer_steps,
        tokens_seen=trial.progress.tokens_seen,
        learning_rate=learning_rate,
        loss_scale=scale,
    )
    return update, result


def _read(launched: Sequence[tuple[Sequence[_Update], AsyncRead]]) -> list[UpdateResult]:
    return [
        UpdateResult(update.trial, _add_to_curve(update, loss / update.loss_scale, norm))
        for updates, read in launched
        for update, (loss, norm) in zip(updates, read.values(), strict=True)
    ]


def _add_to_curve(update: _Update, loss: float, norm: float) -> DivergedError | None:
    """Put an update on its trial's curve, unless fp16 overflowed, which leaves the update out.

    Return the error where the loss or, in fp16 for many steps in a row, the gradient is not finite.
    """
    place = f"at optimiser step {update.optimizer_step}"
    if not math.isfinite(loss):
        return DivergedError(f"the training loss is {loss} {place}")
    if not math.isfinite(norm):
        skipped = update.trial.count_skipped()
        if update.loss_scale == 1.0 or skipped > _MOST_SKIPPED_STEPS:
            return DivergedError(f"the norm of the gradient is {norm} {place}")
        return None
    update.trial.add_point(
        CurvePoint(
            optimizer_step=update.optimizer_step,
            loss=loss,
            learning_rate=update.learning_rate,
            grad_norm=norm,
            tokens_seen=update.tokens_seen,
        )
    )
    return None
