"""A tiny study on one base, through the functions that a driver and its worker call."""

import json
from pathlib import Path
from typing import Any

from loratory.objectives.events import Failed, Finished, Progressed, Ready, Start
from loratory.objectives.objective import Beginning, Objective, Prepared
from loratory.objectives.qlora.kind import QLORA
from loratory.spaces.study import StudySpec
from loratory.spaces.trial import TrialSpec, trial_key
from model_matrix.bases import draw_rows

TRIALS, TRAIN, EVAL, DEV, NEW_TOKENS = 2, 8, 8, 2, 8


def write_data(folder: Path) -> None:
    """Write the rows of all studies."""
    for seed, (name, count) in enumerate({"train": TRAIN, "eval": EVAL}.items()):
        rows = "".join(json.dumps(row) + "\n" for row in draw_rows(count, seed=seed))
        (folder / f"{name}.jsonl").write_text(rows)


def tiny_study(base: Path, data: Path, **model: Any) -> StudySpec:
    """Return a study of two trials with two updates each, over all rows at once."""
    return StudySpec.model_validate(
        {
            "name": "matrix",
            "metric": "loss",
            "trials": TRIALS,
            "space": {"weight_decay": [0.0]},
            "training": {
                "learning_rate": 0.03,
                "batch_size": TRAIN,
                "epochs": 2.0,
                "rank": 4,
                "dropout": 0.0,
                "warmup": 0.0,
            },
            "model": {"base": str(base), "compute_dtype": "fp32", "allow_unquantized_experts": True} | model,
            "data": {
                "train": str(data / "train.jsonl"),
                "eval": str(data / "eval.jsonl"),
                "max_length": 48,
            },
            "evaluation": {
                "evaluations": 1,
                "dev_examples": DEV,
                "max_new_tokens": NEW_TOKENS,
                "metrics": ["rougeL"],
                "language": "en",
            },
            "packing": {"slots": TRIALS},
        }
    )


def prepare(study: StudySpec) -> Prepared:
    """Do what the driver does before workers start.

    Raises:
        InputError: the base is refused.
    """
    QLORA.check(study)
    return QLORA.prepare(study, Beginning.now())


class Outcome:
    """Messages of a worker about the first trial.

    Attributes:
        ready: how the worker is laid out, and what it asked of the base.
        finished: the trial's scores, predictions and adapter.
        points: loss and norm of the gradient of each update.
        spec: the trial.
    """

    def __init__(self, study: StudySpec, objective: Objective) -> None:
        """Run as many trials at once as the worker takes, up to two.

        Raises:
            RuntimeError: a trial failed.
        """
        assert study.training is not None
        specs = [
            TrialSpec(
                key=trial_key(number),
                number=number,
                attempt=1,
                seed=7 + number,
                params={},
                training=study.training,
            )
            for number in range(min(objective.capacity, TRIALS))
        ]
        events = objective.advance([Start(trial=spec, checkpoint=None) for spec in specs])
        ended = [event for event in events if isinstance(event, Finished | Failed)]
        while len(ended) < len(specs):
            events += (new := objective.advance([]))
            ended += [event for event in new if isinstance(event, Finished | Failed)]
        for event in ended:
            if isinstance(event, Failed):
                raise RuntimeError(f"trial {event.key} failed: {event.message}")
        self.spec = specs[0]
        (self.ready,) = [event for event in events if isinstance(event, Ready)]
        (self.finished,) = [e for e in ended if isinstance(e, Finished) and e.key == self.spec.key]
        progressed = [e for e in events if isinstance(e, Progressed) and e.key == self.spec.key]
        self.points = [point for event in progressed for point in event.points]
