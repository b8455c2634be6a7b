"""The part of a model card that says how to train the same adapter with another program."""

from typing import Final

from loratory.objectives.records import TrialRecord
from loratory.reports.markdown import code
from loratory.spaces.training import Schedule, TrainingParameters

# Names of the same schedules in transformers.
_GET_SCHEDULER: Final = {
    Schedule.COSINE: "cosine",
    Schedule.LINEAR: "linear",
    Schedule.CONSTANT: "constant_with_warmup",
}


def training_rules(record: TrialRecord, training: TrainingParameters) -> tuple[str, ...]:
    """Return paragraphs on updates, learning rate and order of the examples, as far as they are recorded.

    Args:
        record: the trial.
        training: its hyperparameters.
    """
    if record.optimizer_steps is None or record.warmup_steps is None:
        return ()
    steps, warmup = record.optimizer_steps, record.warmup_steps
    rules = [f"The schedule has {steps:,} updates, {_warmup(warmup)}. {_rate(training.schedule)}"]
    if record.order is not None:
        rules.append(
            f"Order of the examples: {code(record.order)}. Initial weights are PEFT's after "
            f"{code(f'torch.manual_seed({record.provenance.seed})')}. The optimiser is PyTorch's AdamW, with "
            "the gradient of the mean over all answer tokens of a batch. "
            f"{_dropout(training.dropout)}loratory's examples/reproduce_trial.py trains a trial of a study "
            "folder again with transformers and PEFT alone."
        )
    return tuple(rules)


def _warmup(warmup: int) -> str:
    if warmup == 0:
        return "without a warm-up"
    return f"the first {warmup:,} with a rising learning rate"


def _rate(schedule: Schedule) -> str:
    if (name := _GET_SCHEDULER.get(schedule)) is not None:
        call = code(f"get_scheduler({name!r}, ...)")
        return f"The rates are those of transformers: {call} with these numbers."
    kind = schedule.value.partition("_")[0]
    return (
        f"The rates are those of loratory 0.1.0 ({code(schedule.value)}): they are transformers' {kind}, but "
        "a warm-up of W updates starts at 1 / (W + 1) of the peak rate."
    )


def _dropout(share: float) -> str:
    return "Dropout draws masks that another program does not draw. " if share else ""
