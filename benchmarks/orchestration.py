"""The cost of the search itself, and the state in which each tool leaves stopped trials in Optuna.

    python benchmarks/orchestration.py [--trials 100] [--workers 2]

The same analytic trials, without any training, through loratory and through Ray Tune with OptunaSearch and
ASHA, one after the other on this machine. Prints a table: wall-clock seconds, trials per second, and the
states in which the stopped trials stand in Optuna. Both count from starting Ray to the last trial, loratory
also its records, storage and report.
"""

import argparse
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import optuna
import ray
from rich.console import Console
from rich.table import Table

from loratory.objectives.toy import quality
from loratory.search import run_study
from loratory.search.optuna_rows import open_rows
from loratory.spaces import StudySpec
from loratory.spaces.training import TrainingParameters

EVALUATIONS = 6


@dataclass(frozen=True)
class Result:
    """One tool's run."""

    tool: str
    seconds: float
    states: Counter[str]
    stopped_early: int


def run_loratory(trials: int, workers: int) -> Result:
    """The toy study through Ray workers, with records, storage and report."""
    study = StudySpec.model_validate(
        {
            "name": "orchestration",
            "objective": "toy",
            "trials": trials,
            "space": {
                "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
                "rank": [2, 8, 32],
            },
            "evaluation": {"evaluations": EVALUATIONS},
            "pruner": "successive_halving",
            "resources": {"workers": workers},
            "tracking": {"wandb": {"mode": "off"}},
        }
    )
    with tempfile.TemporaryDirectory() as runs:
        started = time.perf_counter()
        result = run_study(study, runs=runs)
        seconds = time.perf_counter() - started
        rows = open_rows(result.folder, result.folder.read_manifest()).get_trials()
    short = sum(len(row.intermediate_values) < EVALUATIONS for row in rows)
    return Result("loratory", seconds, Counter(row.state.name for row in rows), short)


def run_ray_tune(trials: int, workers: int) -> Result:
    """The same trials through Ray Tune, OptunaSearch and ASHA, with their defaults."""
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search import ConcurrencyLimiter
    from ray.tune.search.optuna import OptunaSearch

    def trainable(config: dict[str, Any]) -> None:
        training = TrainingParameters(learning_rate=config["learning_rate"], rank=config["rank"])
        for step in range(1, EVALUATIONS + 1):
            tune.report({"score": quality(training, step / EVALUATIONS)})

    search = OptunaSearch(metric="score", mode="max", sampler=optuna.samplers.TPESampler(seed=0))
    space = {"learning_rate": tune.loguniform(1e-6, 1e-1), "rank": tune.choice([2, 8, 32])}
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        ray.init(address="local", include_dashboard=False, log_to_driver=False)
        tuner = tune.Tuner(
            trainable,
            param_space=space,
            tune_config=tune.TuneConfig(
                num_samples=trials,
                search_alg=ConcurrencyLimiter(search, workers),
                scheduler=ASHAScheduler(metric="score", mode="max", max_t=EVALUATIONS),
            ),
            run_config=tune.RunConfig(storage_path=folder, verbose=0),
        )
        results = tuner.fit()
        ray.shutdown()
        seconds = time.perf_counter() - started
    short = sum(result.metrics["training_iteration"] < EVALUATIONS for result in results if result.metrics)
    rows = search._ot_study.get_trials()
    return Result("Ray Tune + OptunaSearch + ASHA", seconds, Counter(row.state.name for row in rows), short)


def main() -> None:
    """Run both and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    table = Table("tool", "seconds", "trials/s", "stopped early", "states in Optuna")
    for run in (run_loratory, run_ray_tune):
        result = run(arguments.trials, arguments.workers)
        states = ", ".join(f"{count} {name}" for name, count in sorted(result.states.items()))
        pace = f"{arguments.trials / result.seconds:.1f}"
        table.add_row(result.tool, f"{result.seconds:.1f}", pace, str(result.stopped_early), states)
    Console().print(table)


if __name__ == "__main__":
    main()
