"""Updates of trials, launched without waiting for the device; losses and norms are read later."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.packing.pack import Pack
from loratory.objectives.qlora.trial.phases import DivergedError
from loratory.objectives.qlora.trial.trial import Trial
from loratory.objectives.records import CurvePoint

# The loss scale starts at 2^16 and halves at every overflow: after 12 of them it is too small to help.
_MOST_SKIPPED_STEPS = 12


class UpdateResult(NamedTuple):
    """The result of one update; a finite one is already on its trial's curve.

    Attributes:
        trial: the trial that was updated.
        error: set if loss or gradient is not finite, else None.
    """

    trial: Trial
    error: DivergedError | None


@dataclass(frozen=True, kw_only=True)
class _Update:
    """A launched update, with loss and norm still on the device."""

    trial: Trial
    optimizer_step: int
    tokens_seen: int
    learning_rate: float
    loss_scale: float


class AsyncRead:
    """An asynchronous copy of a tensor to the CPU. Reading waits for the copy, not for later device work."""

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
        """Wait for the copy and return the numbers as nested lists."""
        if self._event is not None:
            self._event.synchronize()
        return self._copy.tolist()


class UpdateResults:
    """Launched updates. Their results are read after the next updates are launched."""

    def __init__(self) -> None:
        """Start with nothing launched."""
        self._unread: list[tuple[list[_Update], AsyncRead]] = []

    def launch(self, pack: Pack, trials: Sequence[Trial]) -> list[UpdateResult]:
        """Launch an update of each trial, all with complete batches; return the results of earlier updates.

        If a launch fails, updates launched before it are kept and read later.
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
                self._unread.append((updates, AsyncRead(_stacked(results))))
        return _read(before)

    def collect(self) -> list[UpdateResult]:
        """Read and return the results of all launched updates."""
        unread, self._unread = self._unread, []
        return _read(unread)


def _stacked(results: Sequence[torch.Tensor]) -> torch.Tensor:
    """Return results as one tensor: on their device, or on the CPU where the device lacks the memory."""
    try:
        return torch.stack(list(results))
    except Exception as error:
        if not is_out_of_memory(error):
            raise
    return torch.tensor([result.tolist() for result in results], dtype=results[0].dtype)


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
    """Add an update to its trial's curve, unless an fp16 overflow skipped it.

    Returns an error if the loss is not finite, or the gradient (in fp16: in many steps in a row).
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
