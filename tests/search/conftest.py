"""Fixtures of the search: an opened toy study, and a minimal driver."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import optuna
import pytest

from loratory.objectives.events import Failed, Finished, Progressed, Ready, Reported, Start, Started, Stop
from loratory.objectives.objective import Beginning, Prepared
from loratory.objectives.records import Provenance
from loratory.objectives.study_folder import StudyFolder
from loratory.objectives.toy import TOY, ToyObjective
from loratory.search.ledger import TrialLedger
from loratory.search.manifest import open_manifest
from loratory.search.optuna_rows import open_rows
from loratory.search.owner import StudyOwner
from loratory.search.reconciliation import Resumed, reconcile
from loratory.search.trial_memory import TrialMemory, Workforce
from loratory.spaces import StudySpec

SPACE = {
    "learning_rate": {"type": "float", "low": 1e-6, "high": 1e-1, "log": True},
    "rank": [2, 8, 32],
    "epochs": {"type": "int", "low": 1, "high": 4},
}

TINY = """
name: tiny
trials: 3
space: {{learning_rate: {{type: float, low: 1e-4, high: 1e-2, log: true}}, rank: [4, 8]}}
training: {{epochs: 1, batch_size: 8}}
model: {{base: "builtin:quickstart"}}
data: {{train: "{folder}/train.jsonl", eval: "{folder}/eval.jsonl", max_length: 64}}
evaluation: {{evaluations: 2, dev_examples: 6, max_new_tokens: 8}}
pruner: none
"""


@dataclass
class OpenStudy:
    study: StudySpec
    folder: StudyFolder
    rows: optuna.Study
    ledger: TrialLedger
    owner: StudyOwner
    resumed: Resumed

    def play(self, objective: ToyObjective | None = None, *, steps: int | None = None) -> None:
        """Run trials one after another, like a driver with one worker; stop after `steps` evaluations."""
        objective = objective or ToyObjective(self.study)
        while (start := self.owner.ask(new=True)) is not None:
            decisions: list[Start | Stop] = [start]
            active = True
            while active:
                events = objective.advance(decisions)
                decisions = []
                for event in events:
                    if isinstance(event, Reported) and steps is not None:
                        steps -= 1
                        if steps < 0:
                            return
                    stop = self.tell(event)
                    decisions += [stop] if stop else []
                active = self.owner.is_current(start.trial.key, start.trial.attempt) and not any(
                    isinstance(event, Failed) for event in events
                )
            objective.advance(decisions)

    def tell(self, event: object) -> Stop | None:
        match event:
            case Started() | Progressed() | Reported() | Finished() | Failed():
                if not self.owner.is_current(event.key, event.attempt):
                    return None
                handlers = {
                    Started: self.owner.started,
                    Progressed: self.owner.progressed,
                    Reported: self.owner.reported,
                    Finished: self.owner.finished,
                    Failed: self.owner.failed,
                }
                return handlers[type(event)](event)
        return None


@pytest.fixture
def toy_study():
    def make(**changes) -> StudySpec:
        toy = {"noise": 0.01, **changes.pop("toy", {})}
        fields = {
            "name": "toy",
            "objective": "toy",
            "trials": 10,
            "space": SPACE,
            "evaluation": {"evaluations": 4},
            "pruner": {"name": "median", "startup_trials": 2},
            "tracking": {"wandb": {"mode": "off"}},
            "toy": toy,
        }
        return StudySpec.model_validate(fields | changes)

    return make


@pytest.fixture
def open_study(tmp_path: Path):
    def open_(study: StudySpec) -> OpenStudy:
        folder = StudyFolder(tmp_path / "runs" / study.name)
        manifest = open_manifest(folder, study, Prepared(), Beginning.now())
        rows = open_rows(folder, manifest)
        ledger = TrialLedger(folder, study_uuid=manifest.uuid, provenance=Provenance(seed=study.seed))
        memory = TrialMemory(study, partial(TOY.trial_bytes, study, Prepared()))
        owner = StudyOwner(study, rows=rows, ledger=ledger, memory=memory)
        limit = study.toy.memory.limit_bytes if study.toy else None
        owner.know(Workforce(ready=[Ready(device="toy", compute_dtype="fp64", trial_limit_bytes=limit)]))
        return OpenStudy(study, folder, rows, ledger, owner, reconcile(owner, rows))

    return open_


@pytest.fixture
def assert_agreement():
    """Records and Optuna rows tell one story: number, state, value, intermediate values, constraint."""

    def check(rows: optuna.Study, folder: StudyFolder, metric: str = "rougeL") -> None:
        records = {record.number: record for record in folder.read_records()}
        frozen = {trial.number: trial for trial in rows.get_trials()}
        assert sorted(records) == sorted(frozen) == list(range(len(records)))
        for number, record in records.items():
            row = frozen[number]
            expected = {"INFEASIBLE": "PRUNED"}.get(record.state, str(record.state))
            assert row.state.name == expected, number
            assert row.intermediate_values == {m.step: m.metrics[metric] for m in record.measurements}, number
            assert bool(row.constraints) == (record.state == "INFEASIBLE")
            if record.state == "COMPLETE":
                assert [row.value] == record.values
            curve = [point.optimizer_step for point in folder.read_curve(record.key)]
            assert curve == list(range(1, len(curve) + 1)), number

    return check


@pytest.fixture
def tiny_study(tmp_path: Path) -> Path:
    """A study file of three QLoRA trials on the small model that comes with loratory."""
    rows = [{"instruction": "Say the number.", "input": f"{n}", "output": f"number {n}"} for n in range(60)]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:40]))
    (tmp_path / "eval.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[40:]))
    path = tmp_path / "tiny.yaml"
    path.write_text(TINY.format(folder=tmp_path))
    return path
