"""The trials that train at the moment: each pass takes all of them a step further, an update is one's own."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.batch import train_pass
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.slot_copy import SlotCopy, SlotState
from loratory.objectives.packing.update_rules import update_rule
from loratory.objectives.qlora.later import Later
from loratory.objectives.qlora.memory.device import peak_memory_bytes
from loratory.objectives.qlora.trial.trial import DivergedError, TrialRun
from loratory.objectives.records import CurvePoint

# The loss scale starts at 2^16 and halves with every overflow: after this many it is too small to help.
_MOST_SKIPPED_STEPS = 12

Settled = tuple[TrialRun, DivergedError | None]
"""A trial of which an update was looked at, and what is wrong with it."""


@dataclass(frozen=True, kw_only=True)
class _Update:
    """An update whose loss and norm are still on the device."""

    run: TrialRun
    optimizer_step: int
    tokens_seen: int
    learning_rate: float
    loss_scale: float


class Slots:
    """Trials in the slots of a pack.

    Attributes:
        pack: the pack.
        tokens_per_pass: what all trials together have in a pass.
    """

    def __init__(self, pack: Pack, train: Sequence[Example], *, tokens_per_pass: int) -> None:
        """All slots are free.

        Args:
            pack: the pack.
            train: the training split.
            tokens_per_pass: of all trials together.
        """
        self.pack, self._train, self.tokens_per_pass = pack, train, tokens_per_pass
        self._runs: dict[int, TrialRun] = {}
        self._first = 0
        self._unread: list[tuple[list[_Update], Later]] = []

    @property
    def runs(self) -> list[TrialRun]:
        """The trials that have a slot."""
        return list(self._runs.values())

    @property
    def ready(self) -> list[TrialRun]:
        """Those that can go on now."""
        return [run for run in self._runs.values() if run.trains]

    @property
    def free(self) -> int:
        """How many slots are free."""
        return self.pack.stack.slots - len(self._runs)

    def place(self, run: TrialRun) -> None:
        """Give a trial a free slot, and begin or go on there."""
        slot = next(slot for slot in range(self.pack.stack.slots) if slot not in self._runs)
        training = run.trial.training
        settings = Settings(
            scaling=run.adapter.scaling,
            dropout=training.dropout,
            weight_decay=training.weight_decay,
            max_grad_norm=training.max_grad_norm,
            rule=update_rule(training),
        )
        self.pack.put(slot, run.state or SlotState(matrices=run.adapter.state), settings)
        # From now on only names and shapes of the first matrices are needed.
        names = {name: matrix.to("meta") for name, matrix in run.adapter.state.items()}
        run.adapter = replace(run.adapter, state=names)
        run.slot, run.state, run.batch = slot, None, None
        run.started = time.perf_counter() - run.progress.elapsed_seconds
        self._runs[slot] = run

    def release(self, run: TrialRun) -> None:
        """Take a trial out of its slot, if it has one."""
        if run.slot is not None:
            self.pack.clear(run.slot)
            del self._runs[run.slot]
            run.slot = run.batch = None

    def copy(self, run: TrialRun, *, moments: bool) -> SlotCopy:
        """What a trial's slot holds, to be fetched while it trains on.

        Args:
            run: the trial.
            moments: whether AdamW's are wanted too.
        """
        assert run.slot is not None
        try:
            return self.pack.copy(run.slot, run.adapter.state, moments=moments)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return self.pack.copy(run.slot, run.adapter.state, moments=moments, on_cpu=True)

    def suspend(self, run: TrialRun) -> None:
        """Take a trial out of its slot, from where it can go on later in any other."""
        assert run.slot is not None
        run.state = self.pack.take(run.slot, run.adapter.state, moments=True)
        self.release(run)

    def advance(self) -> list[Settled]:
        """Launch one pass, and the updates that it completes; then look at the updates before it.

        Returns:
            Each trial of which an earlier update was looked at, and what is wrong with it, if anything is.
        """
        began, ready = time.perf_counter(), self.ready
        if not ready:
            return self.settle()
        # The first has its turn in any case: let it be another each time.
        self._first += 1
        turned = ready[self._first % len(ready) :] + ready[: self._first % len(ready)]
        batches = {run.slot: run.next_batch(self._train) for run in turned if run.slot is not None}
        host = train_pass(self.pack, batches, tokens=self.tokens_per_pass)
        done = [run for run in ready if run.batch is not None and run.batch.done]
        settled = self._update(done)
        seconds = time.perf_counter() - began
        share = {span.slot: (span.end - span.start) / host.spans[-1].end for span in host.spans}
        for run in ready:
            if run.slot in share:
                run.progress.pack_size = max(run.progress.pack_size, len(share))
            self.account(run, seconds * share.get(run.slot if run.slot is not None else -1, 0.0))
        return settled

    def settle(self) -> list[Settled]:
        """Look at the updates that were not looked at yet."""
        unread, self._unread = self._unread, []
        return [look for made, later in unread for look in _looked_at(made, later)]

    def begin_batches_again(self) -> None:
        """Drop what passes have added up since the last updates, where a pass was lost."""
        for slot, run in self._runs.items():
            self.pack.forget_batch(slot)
            if run.batch is not None:
                run.batch.rewind()

    def account(self, run: TrialRun, seconds: float) -> None:
        """Add to a trial's time on the device."""
        progress = run.progress
        progress.device_seconds += seconds
        progress.elapsed_seconds = time.perf_counter() - run.started
        progress.peak_memory_bytes = max(
            progress.peak_memory_bytes, peak_memory_bytes(self.pack.model.device)
        )

    def _update(self, runs: Sequence[TrialRun]) -> list[Settled]:
        """Launch updates, and look at those before them; what was launched is looked at even if one fails."""
        before, self._unread = self._unread, []
        updates: list[_Update] = []
        results: list[torch.Tensor] = []
        try:
            for run in runs:
                update, result = self._launch(run)
                updates.append(update)
                results.append(result)
        except BaseException:
            self._unread = before
            raise
        finally:
            if results:
                self._unread.append((updates, Later(torch.stack(results))))
        return [look for made, later in before for look in _looked_at(made, later)]

    def _launch(self, run: TrialRun) -> tuple[_Update, torch.Tensor]:
        assert run.slot is not None
        learning_rate = run.plan.learning_rate(run.progress.optimizer_steps)
        scale = self.pack.optimizer(run.slot).loss_scale
        result = self.pack.update(run.slot, learning_rate)
        run.count_update()
        update = _Update(
            run=run,
            optimizer_step=run.progress.optimizer_steps,
            tokens_seen=run.progress.tokens_seen,
            learning_rate=learning_rate,
            loss_scale=scale,
        )
        return update, result


def _looked_at(updates: Sequence[_Update], results: Later) -> list[Settled]:
    """Put updates on their trials' curves."""
    settled: list[Settled] = []
    for update, (loss, norm) in zip(updates, results.values(), strict=True):
        error: DivergedError | None = None
        try:
            point = _point(update, loss / update.loss_scale, norm)
            update.run.points += [point] if point is not None else []
        except DivergedError as diverged:
            error = diverged
        settled.append((update.run, error))
    return settled


def _point(update: _Update, loss: float, norm: float) -> CurvePoint | None:
    """The update's place on the curve; None where fp16 overflowed, which leaves the update out.

    Raises:
        DivergedError: loss or gradient is not finite (in fp16: for many steps in a row).
    """
    place = f"at optimiser step {update.optimizer_step}"
    if not math.isfinite(loss):
        raise DivergedError(f"the training loss is {loss} {place}")
    progress = update.run.progress
    if not math.isfinite(norm):
        progress.skipped_in_a_row += 1
        if update.loss_scale == 1.0 or progress.skipped_in_a_row > _MOST_SKIPPED_STEPS:
            raise DivergedError(f"the norm of the gradient is {norm} {place}")
        return None
    progress.skipped_in_a_row = 0
    return CurvePoint(
        optimizer_step=update.optimizer_step,
        loss=loss,
        learning_rate=update.learning_rate,
        grad_norm=norm,
        tokens_seen=update.tokens_seen,
    )
