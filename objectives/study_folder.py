"""The study folder: where everything durable lies. No other file knows a name in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loratory.objectives import curve_file
from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.manifest import Manifest
from loratory.objectives.records import CurvePoint, ScoreRecord, TrialRecord, listing_order
from loratory.objectives.versions import record_from_bytes, record_to_bytes
from loratory.spaces.errors import InputError

# In data/, in a trial's folder, in its adapter/, and in the folder of a scoring.
REMOVED, EXAMPLES = "removed.jsonl", "examples.json"
RECORD, SCORES, PREDICTIONS = "record.json", "scores.npz", "predictions.jsonl"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"

BASE, TEST_BASE, TEST_WINNER = "base", "test/base", "test/winner"
"""Keys of scorings: the untuned base on eval.select; base and winner on test."""

_ADAPTER, _CHECKPOINT = "adapter", "checkpoint-"


@dataclass(frozen=True)
class StudyFolder:
    """Paths and files of one study. Only the driver writes; anyone may read at any time."""

    path: Path

    @property
    def manifest(self) -> Path:
        """study.json: the spec, the study's UUID and the hashes of its inputs."""
        return self.path / "study.json"

    @property
    def first_manifest(self) -> Path:
        """study.json as an earlier version wrote it, kept when the study goes on with another one."""
        return self.path / "study.version-1.json"

    @property
    def database(self) -> Path:
        """study.db: Optuna's storage, where no URL is named."""
        return self.path / "study.db"

    @property
    def clock(self) -> Path:
        """How long drivers have worked on the study."""
        return self.path / "clock.json"

    @property
    def lock(self) -> Path:
        """The lock that a driver holds."""
        return self.path / "driver.lock"

    @property
    def data(self) -> Path:
        """Folder of what cleaning removed and why (`REMOVED`), and of the ids of the examples."""
        return self.path / "data"

    @property
    def examples(self) -> Path:
        """Ids and groups of every split in its fixed order, and how prompts are made."""
        return self.data / EXAMPLES

    @property
    def report(self) -> Path:
        """Folder of the comparison report."""
        return self.path / "report"

    @property
    def report_html(self) -> Path:
        """The report for a browser."""
        return self.report / "report.html"

    @property
    def report_markdown(self) -> Path:
        """The report as Markdown."""
        return self.report / "report.md"

    @property
    def report_json(self) -> Path:
        """The report for programs."""
        return self.report / "report.json"

    @property
    def trials_csv(self) -> Path:
        """The report's table of all trials."""
        return self.report / "trials.csv"

    @property
    def publish(self) -> Path:
        """Folder in which a repository of the Hub is staged."""
        return self.path / "publish"

    @property
    def wandb(self) -> Path:
        """Folder of W&B runs."""
        return self.path / "wandb"

    @property
    def wandb_work(self) -> Path:
        """Where offline runs stand until they are whole."""
        return self.wandb / ".work"

    @property
    def wandb_data(self) -> Path:
        """Where wandb keeps what it downloads and stages."""
        return self.wandb / "data"

    @property
    def wandb_log(self) -> Path:
        """What the W&B process printed."""
        return self.wandb / "tracker.log"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files, a folder for each trial."""
        return self.path / "tensorboard"

    def score(self, key: str) -> Path:
        """Folder of a scoring outside any trial, such as `TEST_WINNER`."""
        return self.path / key

    def trial(self, key: str) -> Path:
        """Folder of one trial: `trials/0011` of key `0011`; a key with a slash names its folder itself."""
        return self.path / key if "/" in key else self.path / "trials" / key

    def adapter(self, key: str) -> Path:
        """Folder of the adapter that a trial kept."""
        return self.trial(key) / _ADAPTER

    def marker(self, key: str, tracker: str) -> Path:
        """How far a tracker has come with a trial."""
        return self.trial(key) / f"{tracker}.json"

    def events(self, key: str) -> Path:
        """Folder of a trial's TensorBoard events."""
        return self.tensorboard / key

    def partial_events(self, key: str) -> Path:
        """Where the events of a finished trial stand until they are whole."""
        return self.trial(key) / ".tensorboard"

    def curve(self, key: str) -> Path:
        """A trial's curve, an optimiser step a line."""
        return self.trial(key) / "curve.jsonl"

    def checkpoint(self, key: str, evaluation: int) -> Path:
        """What a trial needs to go on from an evaluation."""
        return self.trial(key) / f"{_CHECKPOINT}{evaluation:04d}.bin"

    def checkpoints(self, key: str) -> list[tuple[int, Path]]:
        """Return the checkpoints of a trial with their evaluations, the last one last."""
        paths = self.trial(key).glob(f"{_CHECKPOINT}*.bin")
        return sorted((int(path.stem.removeprefix(_CHECKPOINT)), path) for path in paths)

    @property
    def has_records(self) -> bool:
        """Whether anything was recorded of any trial or scoring."""
        return next(self.path.glob(f"**/{RECORD}"), None) is not None

    def read_manifest(self) -> Manifest:
        """Return what study.json says.

        Raises:
            InputError: there is no study here.
            LoratoryError: it is damaged, or a newer loratory wrote it.
        """
        if not self.manifest.is_file():
            raise InputError(
                f"{self.path}: must be a study folder, has no study.json; `loratory run` makes one"
            )
        return Manifest.from_json(self.manifest.read_bytes(), str(self.manifest))

    def write_record(self, record: TrialRecord) -> None:
        """Replace a trial's record in one step."""
        write_atomically(self.trial(record.key) / RECORD, record_to_bytes(record))

    def read_record(self, key: str) -> TrialRecord:
        """Return a trial's record.

        Raises:
            OSError: there is none.
            LoratoryError: it is damaged, or a newer loratory wrote it.
        """
        path = self.trial(key) / RECORD
        return record_from_bytes(TrialRecord, path.read_bytes(), str(path))

    def read_records(self) -> list[TrialRecord]:
        """Return the records of the search's trials, by number; `confirm/...` is none of them."""
        paths = self.path.glob(f"trials/*/{RECORD}")
        return sorted((self.read_record(path.parent.name) for path in paths), key=listing_order)

    def write_score(self, record: ScoreRecord) -> None:
        """Replace the record of a scoring in one step."""
        write_atomically(self.score(record.key) / RECORD, record_to_bytes(record))

    def read_score(self, key: str) -> ScoreRecord | None:
        """Return the scoring of a key, if it was made."""
        path = self.score(key) / RECORD
        return record_from_bytes(ScoreRecord, path.read_bytes(), str(path)) if path.is_file() else None

    def append_curve(self, key: str, points: Iterable[CurvePoint]) -> None:
        """Add optimiser steps to a trial's curve."""
        curve_file.append(self.curve(key), points)

    def read_curve(self, key: str) -> list[CurvePoint]:
        """Return a trial's curve; a line cut short by a crash is left out."""
        return curve_file.read(self.curve(key))

    def cut_curve(self, key: str, *, after_optimizer_step: int) -> None:
        """Forget the steps after a checkpoint: they are made again."""
        curve_file.cut(self.curve(key), after_optimizer_step=after_optimizer_step)
