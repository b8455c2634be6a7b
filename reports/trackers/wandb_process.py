"""The W&B process: `python -m loratory.reports.trackers.wandb_process`, started by `WandbSink`.

wandb can block for a minute and cannot be restarted within a process, so it runs in one that may be killed.
Requests are lines of JSON on standard input: first the study, then one `{"key": k, "final": bool}` each.
"""

import json
import os
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from filelock import FileLock

from loratory.objectives.study_folder import StudyFolder
from loratory.reports.trackers.wandb_runs import OfflineRuns, OnlineRuns, StudyRuns, UnreachableError
from loratory.spaces.study import StudySpec
from loratory.spaces.tracking import WandbMode

_LOCK_TIMEOUT_SECONDS = 60.0


def main() -> None:
    """Answer requests until the input ends."""
    requests, answers = _take_streams()
    work = Path(os.environ["WANDB_DIR"])
    settings = json.loads(requests.readline())
    # A driver that was killed may have left its W&B process at work on the same runs.
    with FileLock(work.parent / "lock", timeout=_LOCK_TIMEOUT_SECONDS):
        _remove_leftovers(work)
        runs = _runs(settings, work)
        _answer(answers, {"mode": runs.mode})
        for line in requests:
            _answer(answers, _carry_out(runs, json.loads(line)))
        runs.close()


def _take_streams() -> tuple[TextIO, TextIO]:
    # wandb may print or ask: its output goes to standard error, and its input is empty.
    requests = os.fdopen(os.dup(0), "r", encoding="utf-8")
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115
    return requests, answers


def _answer(answers: TextIO, answer: Mapping[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _remove_leftovers(work: Path) -> None:
    for path in work.parent.iterdir():
        if path.is_dir() and path != work:
            shutil.rmtree(path, ignore_errors=True)


def _runs(settings: Mapping[str, Any], work: Path) -> OfflineRuns | OnlineRuns:
    runs = StudyRuns(
        StudySpec.model_validate(settings["study"]),
        StudyFolder(Path(settings["folder"])),
        study_uuid=settings["study_uuid"],
        work=work / "runs",
        connect_timeout_seconds=settings["connect_timeout_seconds"],
    )
    mode = WandbMode(settings["mode"])
    online = mode is WandbMode.ONLINE or (mode is WandbMode.AUTO and _has_key())
    return OnlineRuns(runs) if online else OfflineRuns(runs)


def _has_key() -> bool:
    import wandb

    return bool(wandb.login(prompt=False, verify=False))


def _carry_out(runs: OfflineRuns | OnlineRuns, request: Mapping[str, Any]) -> dict[str, Any]:
    try:
        if request["final"]:
            runs.complete(request["key"])
        else:
            runs.update(request["key"])
    except UnreachableError as error:
        return {"error": str(error), "unreachable": True}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {}


if __name__ == "__main__":
    main()
