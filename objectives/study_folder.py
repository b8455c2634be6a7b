"""The study folder, which holds all durable files of a study. Only this module knows the names in it."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from loratory.objectives import curve_file
from loratory.objectives.atomic_files import write_atomically
from loratory.objectives.manifest import Manifest
from loratory.objectives.records import CurvePoint, ScoreRecord, TrialRecord, listing_order
from loratory.objectives.study_hints import no_study
from loratory.objectives.versions import record_from_bytes, record_to_bytes
from loratory.spaces.errors import InputError
from loratory.spaces.trial import parse_retraining_key

# File names in data/, in the folder of a trial, in its adapter/, and in the folder of a scoring.
REMOVED, EXAMPLES = "removed.jsonl", "examples.json"
PREPARED = "prepared.cache"
RECORD, SCORES, PREDICTIONS = "record.json", "scores.npz", "predictions.jsonl"
ADAPTER_WEIGHTS, ADAPTER_CONFIG = "adapter_model.safetensors", "adapter_config.json"

BASE, TEST_BASE, TEST_WINNER = "base", "test/base", "test/winner"
"""Keys of scorings: the untuned base on eval.select; the base and the winner on test."""
CONFIRM_BASE = "confirm/base"
"""Key of the scoring of the base on eval.confirm; `confirm_key` has those of trials."""

_ADAPTER, _CHECKPOINT = "adapter", "checkpoint-"


def confirm_key(trial: str) -> str:
    """Return the key of the scoring of a trial's adapter on eval.confirm: `confirm/0011` for key `0011`."""
    return f"confirm/{trial.removeprefix('confirm/')}"


def later_look_key(trial: str) -> str:
    """Return the key of a later winner on test: `test/0014` for key `0014`; the first is `TEST_WINNER`."""
    return f"test/{trial.removeprefix('confirm/')}"


@dataclass(frozen=True)
class StudyFolder:
    """Paths and files of one study. Only the driver writes; others may read at any time."""

    path: Path

    @property
    def manifest(self) -> Path:
        """study.json: the spec, the study's UUID and the hashes of its inputs."""
        return self.path / "study.json"

    @property
    def first_manifest(self) -> Path:
        """study.json as an earlier version wrote it, kept when a newer version continues the study."""
        return self.path / "study.version-1.json"

    @property
    def database(self) -> Path:
        """study.db: Optuna's storage, if the study names no URL."""
        return self.path / "study.db"

    @property
    def clock(self) -> Path:
        """File with the time that drivers have spent on the study."""
        return self.path / "clock.json"

    @property
    def work_times(self) -> Path:
        """How each worker spent its time, a line per run and worker, see `WorkerTimes`."""
        return self.path / "work_times.jsonl"

    @property
    def lock(self) -> Path:
        """Lock file that a driver holds."""
        return self.path / "driver.lock"

    @property
    def data(self) -> Path:
        """Folder of the rows that cleaning removed, with reasons (`REMOVED`), and of the example ids."""
        return self.path / "data"

    @property
    def examples(self) -> Path:
        """File with ids and groups of every split in its fixed order, and with the prompt format."""
        return self.data / EXAMPLES

    @property
    def report(self) -> Path:
        """Folder of the comparison report."""
        return self.path / "report"

    @property
    def verdict(self) -> Path:
        """The verdict of the last run, as JSON for trackers and programs."""
        return self.path / "verdict.json"

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
        """Folder of offline runs that are not complete yet."""
        return self.wandb / ".work"

    @property
    def wandb_data(self) -> Path:
        """Folder of wandb's downloads and staged files."""
        return self.wandb / "data"

    @property
    def wandb_log(self) -> Path:
        """Output of the W&B process."""
        return self.wandb / "tracker.log"

    @property
    def tensorboard(self) -> Path:
        """Folder of TensorBoard's event files, with one folder per trial."""
        return self.path / "tensorboard"

    def score(self, key: str) -> Path:
        """Return the folder of a scoring outside any trial, such as `TEST_WINNER`."""
        return self.path / key

    def trial(self, key: str) -> Path:
        """Return a trial's folder: `trials/0011` for key `0011`, `trials/confirm/0011-2` for a retraining."""
        return self.path / "trials" / key

    def adapter(self, key: str) -> Path:
        """Return the folder of the adapter that a trial kept."""
        return self.trial(key) / _ADAPTER

    def marker(self, key: str, tracker: str) -> Path:
        """Return the file that notes how much of a trial a tracker has received."""
        return self.trial(key) / f"{tracker}.json"

    def events(self, key: str) -> Path:
        """Return the folder of a trial's TensorBoard events."""
        return self.tensorboard / key

    def partial_events(self, key: str) -> Path:
        """Return the folder of a finished trial's events until they are complete."""
        return self.trial(key) / ".tensorboard"

    def curve(self, key: str) -> Path:
        """Return the file of a trial's curve, with one optimiser step per line."""
        return self.trial(key) / "curve.jsonl"

    def checkpoint(self, key: str, evaluation: int) -> Path:
        """Return the file from which a trial continues after an evaluation."""
        return self.trial(key) / f"{_CHECKPOINT}{evaluation:04d}.bin"

    def checkpoints(self, key: str) -> list[tuple[int, Path]]:
        """Return (evaluation, file) of a trial's checkpoints, in order of evaluations."""
        paths = self.trial(key).glob(f"{_CHECKPOINT}*.bin")
        return sorted((int(path.stem.removeprefix(_CHECKPOINT)), path) for path in paths)

    @property
    def has_records(self) -> bool:
        """True if any trial or scoring has a record."""
        return next(self.path.glob(f"**/{RECORD}"), None) is not None

    def read_manifest(self) -> Manifest:
        """Read study.json.

        Raises:
            InputError: the folder holds no study.
            LoratoryError: it is damaged, or a newer loratory wrote it.
        """
        if not self.manifest.is_file():
            raise InputError(no_study(self.path))
        return Manifest.from_json(self.manifest.read_bytes(), str(self.manifest))

    def write_record(self, record: TrialRecord) -> None:
        """Replace a trial's record atomically."""
        write_atomically(self.trial(record.key) / RECORD, record_to_bytes(record))

    def read_record(self, key: str) -> TrialRecord:
        """Read a trial's record.

        Raises:
            OSError: there is no record.
            LoratoryError: it is damaged, or a newer loratory wrote it.
        """
        path = self.trial(key) / RECORD
        return record_from_bytes(TrialRecord, path.read_bytes(), str(path))

    def read_records(self) -> list[TrialRecord]:
        """Read the records of the search's trials, by number, without those of `confirm/...`."""
        names = _with_record(self.path / "trials")
        return sorted(map(self.read_record, names), key=listing_order)

    def read_retrained(self) -> list[TrialRecord]:
        """Read the records of trainings on new seeds (`confirm/...`), by trial and index."""
        names = _with_record(self.path / "trials" / "confirm")
        records = (self.read_record(f"confirm/{name}") for name in names)
        return sorted(records, key=lambda record: parse_retraining_key(record.key))

    def write_score(self, record: ScoreRecord) -> None:
        """Replace the record of a scoring atomically."""
        write_atomically(self.score(record.key) / RECORD, record_to_bytes(record))

    def read_score(self, key: str) -> ScoreRecord | None:
        """Read the record of a scoring; None if there is none."""
        path = self.score(key) / RECORD
        return record_from_bytes(ScoreRecord, path.read_bytes(), str(path)) if path.is_file() else None

    def read_looks(self) -> list[ScoreRecord]:
        """Read the scorings of winners on test, in the order in which they were made."""
        keys = {f"test/{name}" for name in _with_record(self.path / "test")} - {TEST_BASE}
        records = [record for key in keys if (record := self.read_score(key)) is not None]
        return sorted(records, key=lambda r: (r.key != TEST_WINNER, r.scored_at or "", r.key))

    def append_curve(self, key: str, points: Iterable[CurvePoint]) -> None:
        """Append optimiser steps to a trial's curve."""
        curve_file.append(self.curve(key), points)

    def read_curve(self, key: str) -> list[CurvePoint]:
        """Read a trial's curve; a line that a crash cut short is left out."""
        return curve_file.read(self.curve(key))

    def cut_curve(self, key: str, *, after_optimizer_step: int) -> None:
        """Remove the steps after a checkpoint, which the trial repeats."""
        curve_file.cut(self.curve(key), after_optimizer_step=after_optimizer_step)


def _with_record(folder: Path) -> list[str]:
    """Return the names of the folders in a folder that hold a record; none where there is no folder.

    Raises:
        PermissionError: a folder may not be read, which `glob` would take for an empty one.
    """
    try:
        return [path.name for path in folder.iterdir() if _is_there(path / RECORD)]
    except FileNotFoundError:
        return []


def _is_there(path: Path) -> bool:
    """Return whether a file is there; unlike `is_file` of some versions of Python, raise what hides it."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True
