"""The driver's side of W&B: keep the W&B process alive, and tell it which trials have news."""

import os
import shlex
import shutil
from pathlib import Path
from typing import Any

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.trackers.child_process import ChildLostError, ChildProcess
from loratory.reports.trackers.wandb_environment import run_prefix, wandb_environment
from loratory.spaces.study import StudySpec
from loratory.spaces.tracking import WandbMode

_MODULE = "loratory.reports.trackers.wandb_process"
_START_TIMEOUT_SECONDS = 120.0
_ANSWER_TIMEOUT_SECONDS = {False: 60.0, True: 90.0}
_LOSSES_ONLINE = 2


class WandbSinkError(RuntimeError):
    """The W&B process could not write a trial."""


class WandbSink:
    """Writes one run per trial, online or offline, by a process that may die at any time."""

    name = "W&B"
    marker = "wandb"

    def __init__(
        self,
        study: StudySpec,
        folder: StudyFolder,
        *,
        study_uuid: str,
        mode: WandbMode,
        connect_timeout_seconds: float = 20.0,
    ) -> None:
        """Take a study and the environment; the process starts when the first trial has news.

        Args:
            study: the study's spec.
            folder: the study's folder.
            study_uuid: the study's UUID, part of the run ids.
            mode: online, offline, or auto.
            connect_timeout_seconds: longest wait for the server when a run begins.
        """
        self._study = study
        self._folder = StudyFolder(folder.path.absolute())
        self._shown_path = folder.path
        self._study_uuid = study_uuid
        self._mode = mode
        self._connect_timeout_seconds = connect_timeout_seconds
        self._child: ChildProcess | None = None
        # A copy, since the driver later hides the key from the libraries that it starts.
        self._environment = dict(os.environ)
        self._starts = 0
        self._losses = 0
        self._aborted = False
        self._warnings: dict[str, None] = {}

    def update(self, key: str) -> None:
        """Send the news of a running trial; offline, do nothing."""
        if self._mode is not WandbMode.OFFLINE:
            self._request(key, final=False)

    def complete(self, key: str) -> None:
        """Write a finished trial completely."""
        self._request(key, final=True)

    def abort(self) -> None:
        """Kill the process, so that a call that waits for its answer raises."""
        self._aborted = True
        child = self._child
        if child is not None:
            child.kill()

    def close(self, timeout_seconds: float) -> list[str]:
        """End the process, and return warnings and the command that uploads offline runs."""
        if self._child is not None and not self._child.close(timeout_seconds):
            self._warnings["W&B: its process did not end in time and was killed"] = None
        self._child = None
        shutil.rmtree(self._work_root, ignore_errors=True)
        return [*self._warnings, *self._upload_lines()]

    @property
    def process_id(self) -> int | None:
        """Id of the W&B process; None if there is none."""
        return None if self._child is None else self._child.pid

    @property
    def _work_root(self) -> Path:
        return self._folder.wandb_work

    def _request(self, key: str, *, final: bool) -> None:
        try:
            answer = self._running_child().ask({"key": key, "final": final}, _ANSWER_TIMEOUT_SECONDS[final])
        except ChildLostError as error:
            answer = {"error": str(error)}
        if "error" not in answer:
            self._losses = 0
            return
        # After any error wandb works again only in a new process.
        self._drop_child()
        self._losses += 1
        if answer.get("unreachable") or self._losses >= _LOSSES_ONLINE:
            self._go_offline(answer["error"])
        raise WandbSinkError(answer["error"])

    def _running_child(self) -> ChildProcess:
        if self._aborted:
            raise WandbSinkError("stopped before it was written")
        if self._child is None:
            self._starts += 1
            work = self._work_root / f"{os.getpid()}-{self._starts}"
            work.mkdir(parents=True, exist_ok=True)
            data = self._folder.wandb_data
            environment = wandb_environment(work, data, self._environment)
            self._child = ChildProcess(_MODULE, environment, self._folder.wandb_log)
            answer = self._child.ask(self._settings(), _START_TIMEOUT_SECONDS)
            self._mode = WandbMode(answer["mode"])
        return self._child

    def _settings(self) -> dict[str, Any]:
        # The storage's URL may hold a password.
        return {
            "study": self._study.model_dump(mode="json", exclude={"storage"}),
            "folder": str(self._folder.path),
            "study_uuid": self._study_uuid,
            "mode": self._mode.value,
            "connect_timeout_seconds": self._connect_timeout_seconds,
        }

    def _drop_child(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.close(1.0)
            self._child = None

    def _go_offline(self, reason: str) -> None:
        if self._mode is not WandbMode.OFFLINE:
            self._mode = WandbMode.OFFLINE
            self._warnings[f"W&B: not reached ({reason}); the runs are written offline"] = None

    def _upload_lines(self) -> list[str]:
        pattern = f"offline-run-*-{run_prefix(self._study_uuid)}-*"
        runs = [p for p in self._folder.wandb.glob(pattern) if not list(p.glob("*.synced"))]
        if not runs:
            return []
        place = shlex.quote(str(StudyFolder(self._shown_path).wandb))
        return [f"W&B: {len(runs)} runs are offline; to upload them: wandb sync {place}/{pattern}"]
