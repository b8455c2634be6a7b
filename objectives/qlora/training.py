"""One optimiser step of one trial, whatever the number of passes that its batch takes."""

import hashlib
import math
from collections.abc import Sequence

import torch

from loratory.objectives.data.prepared import Example
from loratory.objectives.qlora.base import Base
from loratory.objectives.qlora.batches import collate, longest_first
from loratory.objectives.qlora.forward import answer_losses
from loratory.objectives.qlora.memory import is_out_of_memory, release_memory
from loratory.objectives.qlora.slot import Slot
from loratory.objectives.records import CurvePoint
from loratory.spaces.errors import LoratoryError

# The loss scale starts at 2^16 and halves with every overflow: after this many it is too small to help.
_MOST_SKIPPED_STEPS = 12


class DivergedError(LoratoryError):
    """A loss, a gradient or a metric is no longer a number."""


def train_step(base: Base, slot: Slot, train: Sequence[Example]) -> CurvePoint | None:
    """Make one update of a trial.

    The loss is the mean over all answer tokens of the batch, however it is cut into passes; only the
    dropout masks depend on the cut. Where memory runs out the same step is made again in passes half as
    large, and so are all later ones.

    Args:
        base: the base with the slot's adapter active.
        slot: the trial; its progress moves on by one step.
        train: the training split.

    Returns:
        The step's place on the curve; None where fp16 overflowed, which leaves the update out.

    Raises:
        DivergedError: loss or gradient is not finite (in fp16: for many steps in a row).
    """
    step = slot.progress.optimizer_steps
    examples = [train[index] for index in slot.plan.batch(step)]
    base.model.train()
    loss = _accumulate(base, slot, examples)
    while loss is None:
        slot.progress.micro_batch_size = max(1, slot.progress.micro_batch_size // 2)
        release_memory(base.device)
        loss = _accumulate(base, slot, examples)
    learning_rate = slot.plan.learning_rate(step)
    norm = _update(slot, learning_rate)
    slot.progress.optimizer_steps += 1
    slot.progress.examples_seen += len(examples)
    slot.progress.tokens_seen += sum(len(example) for example in examples)
    slot.progress.metrics = None
    loss_value, norm_value = torch.stack([loss, norm.to(loss)]).tolist()  # the step's one wait for the GPU
    if not _finite(slot, loss_value, norm_value):
        return None
    return CurvePoint(
        optimizer_step=slot.progress.optimizer_steps,
        loss=loss_value,
        learning_rate=learning_rate,
        grad_norm=norm_value,
        tokens_seen=slot.progress.tokens_seen,
    )


def step_seed(trial_seed: int, step: int) -> int:
    """Seed of the dropout masks of one optimiser step: a resumed trial draws what it would have drawn."""
    digest = hashlib.sha256(f"{trial_seed}:{step}".encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


def _accumulate(base: Base, slot: Slot, examples: Sequence[Example]) -> torch.Tensor | None:
    """Add up the gradients of a batch; the loss (fp32 scalar), or None where memory ran out."""
    slot.optimizer.zero_grad(set_to_none=True)
    torch.manual_seed(step_seed(slot.trial.seed, slot.progress.optimizer_steps))
    tokens = sum(len(example.answer_ids) for example in examples)
    order, size = longest_first(len(example) for example in examples), slot.progress.micro_batch_size
    total = torch.zeros((), device=base.device)
    try:
        for start in range(0, len(order), size):
            chosen = [examples[index] for index in order[start : start + size]]
            batch = collate(chosen, padding_id=base.padding_id, device=base.device)
            loss = answer_losses(base, batch).sum() / tokens
            slot.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]  # as torch has it
            total += loss.detach()
    except Exception as error:
        if size == 1 or not is_out_of_memory(error):
            raise
        return None
    return total


def _update(slot: Slot, learning_rate: float) -> torch.Tensor:
    """Clip and apply the gradients; their global norm before clipping (fp32 scalar)."""
    limit = slot.trial.training.max_grad_norm
    slot.scaler.unscale_(slot.optimizer)
    norm = torch.nn.utils.clip_grad_norm_(
        slot.adapter.parameters.values(), math.inf if limit is None else limit
    )
    for group in slot.optimizer.param_groups:
        group["lr"] = learning_rate
    slot.scaler.step(slot.optimizer)
    slot.scaler.update()
    return norm


def _finite(slot: Slot, loss: float, norm: float) -> bool:
    """Whether the step counts; raises where the trial is past saving."""
    place = f"at optimiser step {slot.progress.optimizer_steps}"
    if not math.isfinite(loss):
        raise DivergedError(f"the training loss is {loss} {place}")
    if math.isfinite(norm):
        slot.progress.skipped_in_a_row = 0
        return True
    slot.progress.skipped_in_a_row += 1
    if not slot.scaler.is_enabled() or slot.progress.skipped_in_a_row > _MOST_SKIPPED_STEPS:
        raise DivergedError(f"the norm of the gradient is {norm} {place}")
    return False
