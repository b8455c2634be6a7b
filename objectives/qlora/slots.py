"""Trials in the slots of a pack, and trials in line for a slot. A pass serves all slots, an update one trial.

Slots follow the phases of trials: a slot is emptied when its trial stops training, and a trial leaves the
line when it no longer waits.
"""

import time
from collections import deque
from collections.abc import Callable, Sequence

from loratory.objectives.data.prepared import Example
from loratory.objectives.packing.batch import train_pass
from loratory.objectives.packing.out_of_memory import is_out_of_memory
from loratory.objectives.packing.pack import Pack, Settings
from loratory.objectives.packing.slot_copy import SlotCopy
from loratory.objectives.packing.update_rules import update_rule
from loratory.objectives.qlora.memory.device import peak_memory_bytes
from loratory.objectives.qlora.trial.phases import PhaseError, Training, Waiting
from loratory.objectives.qlora.trial.trial import Trial
from loratory.objectives.qlora.updates import UpdateResult, UpdateResults


class Slots:
    """The pack of a worker and the trials that train in it.

    Whoever asks for trials or free slots has the slots follow the phases first.

    Attributes:
        pack: the pack.
        tokens_per_pass: limit of a pass, over all slots.
    """

    def __init__(self, pack: Pack, train: Sequence[Example], *, tokens_per_pass: int) -> None:
        """Start with free slots.

        Args:
            pack: the pack.
            train: the training split.
            tokens_per_pass: limit of a pass, over all slots.
        """
        self.pack, self.tokens_per_pass = pack, tokens_per_pass
        self._train = train
        self._trials: dict[int, Trial] = {}
        self._line: deque[Trial] = deque()
        self._first = 0
        self._results = UpdateResults()

    @property
    def training(self) -> list[Trial]:
        """Trials that hold a slot."""
        self._follow_phases()
        return list(self._trials.values())

    @property
    def ready(self) -> list[Trial]:
        """Trials in slots that can make a pass now."""
        return [trial for trial in self.training if trial.trains]

    @property
    def free(self) -> int:
        """Number of free slots."""
        return self.pack.stack.slots - len(self.training)

    @property
    def next_in_line(self) -> Trial | None:
        """Trial that gets the next free slot; None if no trial waits."""
        self._follow_phases()
        return self._line[0] if self._line else None

    def line_up(self, trial: Trial) -> None:
        """Append a trial to the line for a slot."""
        self._line.append(trial)

    def place(self, trial: Trial) -> None:
        """Move a waiting trial into a free slot."""
        self._follow_phases()
        slot = next(slot for slot in range(self.pack.stack.slots) if slot not in self._trials)
        if not isinstance(trial.phase, Waiting):
            raise PhaseError(f"trial {trial.spec.key} must wait for a slot to get one, is {trial.phase}")
        training = trial.spec.training
        settings = Settings(
            scaling=trial.adapter.scaling,
            dropout=training.dropout,
            weight_decay=training.weight_decay,
            max_grad_norm=training.max_grad_norm,
            rule=update_rule(training),
        )
        self.pack.put(slot, trial.phase.state, settings)
        trial.enter(slot)
        self._trials[slot] = trial

    def suspend(self, trial: Trial) -> None:
        """Take a trial out of its slot and put it first in line; it goes on from there in any slot."""
        trial.suspend(self.pack.take(trial.slot, trial.adapter.state, moments=True))
        self._line.appendleft(trial)

    def copy(self, trial: Trial, *, moments: bool) -> SlotCopy:
        """Start a copy of the state in a trial's slot, to be fetched while the trial trains on.

        Args:
            trial: a trial that holds a slot.
            moments: whether to copy AdamW's moments too.
        """
        slot, like = trial.slot, trial.adapter.state
        try:
            return self.pack.copy(slot, like, moments=moments)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
        return self.pack.copy(slot, like, moments=moments, on_cpu=True)

    def advance(self) -> list[UpdateResult]:
        """Launch one pass and the updates that it completes; return the results of the updates before it."""
        began, ready = time.perf_counter(), self.ready
        if not ready:
            return self.collect_results()
        # The first trial always gets a share of the pass, so each pass begins with a different trial.
        self._first += 1
        turned = ready[self._first % len(ready) :] + ready[: self._first % len(ready)]
        batches = {trial.slot: trial.next_batch(self._train) for trial in turned}
        host = train_pass(self.pack, batches, tokens=self.tokens_per_pass)
        results = self._results.launch(self.pack, [trial for trial in ready if trial.batch_done])
        seconds = time.perf_counter() - began
        shares = {span.slot: (span.end - span.start) / host.spans[-1].end for span in host.spans}
        for slot, trial in self._trials.items():
            if slot in shares:
                trial.share_pass(len(shares))
            if trial in ready:
                self.account(trial, seconds * shares.get(slot, 0.0))
        return results

    def collect_results(self) -> list[UpdateResult]:
        """Read the losses and norms of launched updates that were not read yet."""
        return self._results.collect()

    def rewind_batches(self) -> None:
        """Drop sums since the last updates after a pass was lost, so that the batches start over."""
        for trial in self.training:
            self.pack.forget_batch(trial.slot)
            trial.rewind_batch()

    def limit_passes(self, tokens: int) -> None:
        """Limit each further pass to `tokens` tokens."""
        self.tokens_per_pass = tokens

    def replace_pack(self, make: Callable[[], Pack]) -> None:
        """Suspend all trials and go on with another pack; this one is freed before `make` is called.

        Those that are suspended stand first in line, before trials that never held a slot.
        """
        for trial in reversed(self.training):
            self.suspend(trial)
        self._follow_phases()
        del self.pack
        self.pack = make()

    def account(self, trial: Trial, seconds: float) -> None:
        """Add to a trial's time on the device."""
        trial.spend(seconds, peak_memory_bytes=peak_memory_bytes(self.pack.model.device))

    def _follow_phases(self) -> None:
        """Empty slots of trials that no longer train, and remove from the line trials that no longer wait."""
        for slot, trial in list(self._trials.items()):
            if not (isinstance(trial.phase, Training) and trial.phase.slot == slot):
                self.pack.clear(slot)
                del self._trials[slot]
        if not all(isinstance(trial.phase, Waiting) for trial in self._line):
            self._line = deque(trial for trial in self._line if isinstance(trial.phase, Waiting))
