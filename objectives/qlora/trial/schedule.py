"""Learning rates by update: transformers' schedules, and those of loratory 0.1.0. Imports no torch."""

import math

from loratory.spaces.training import Schedule

_NONZERO_START = {
    Schedule.COSINE_NONZERO_START: Schedule.COSINE,
    Schedule.LINEAR_NONZERO_START: Schedule.LINEAR,
    Schedule.CONSTANT_NONZERO_START: Schedule.CONSTANT,
}


def warmup_updates(schedule: Schedule, *, share: float, updates: int) -> int:
    """Return the number of updates in which the learning rate rises.

    It is the number that transformers' Trainer computes from a ratio (`TrainingArguments.warmup_steps` below
    1): rounded up. Only a trial of one update has no warm-up here. Trainer would make it at a rate of zero,
    and the trial would learn nothing.

    Args:
        schedule: schedule of the trial.
        share: share of the updates, at least 0 and less than 1.
        updates: number of updates of the trial, at least 1.
    """
    if schedule in _NONZERO_START:
        return min(round(share * updates), updates - 1)
    return math.ceil(updates * share) if updates > 1 else 0


def rate_factor(schedule: Schedule, update: int, *, warmup: int, updates: int) -> float:
    """Return the learning rate of an update as a share of the peak rate.

    For `cosine`, `linear` and `constant` this is the value of transformers' `get_scheduler`, to the bit.

    Args:
        schedule: schedule of the trial.
        update: index of the update, from 0.
        warmup: number of updates in which the rate rises.
        updates: number of updates of the trial.
    """
    if update < warmup:
        return (update + 1) / (warmup + 1) if schedule in _NONZERO_START else update / warmup
    match _NONZERO_START.get(schedule, schedule):
        case Schedule.COSINE:
            return 0.5 * (1.0 + math.cos(math.pi * ((update - warmup) / (updates - warmup))))
        case Schedule.LINEAR:
            return (updates - update) / (updates - warmup)
        case _:
            return 1.0
