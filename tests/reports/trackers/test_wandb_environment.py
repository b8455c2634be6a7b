from pathlib import Path

import pytest

from loratory.reports.trackers.wandb_environment import requested_mode, run_id, wandb_environment
from loratory.spaces.tracking import WandbMode, WandbSpec
from loratory.spaces.trial import trial_key


@pytest.mark.parametrize(
    ("mode", "variable", "expected"),
    [
        ("auto", None, WandbMode.AUTO),
        ("auto", "offline", WandbMode.OFFLINE),
        ("auto", "disabled", WandbMode.OFF),
        ("online", "offline", WandbMode.ONLINE),
        ("off", "online", WandbMode.OFF),
    ],
)
def test_the_study_file_comes_before_the_environment(mode, variable, expected):
    environment = {} if variable is None else {"WANDB_MODE": variable}
    assert requested_mode(WandbSpec(mode=mode), environment) is expected


def test_only_account_and_server_pass_from_the_users_environment():
    users = {
        "PATH": "/bin",
        "WANDB_API_KEY": "k",
        "WANDB_BASE_URL": "https://wandb.example",
        "WANDB_RUN_ID": "other",
        "WANDB_DIR": "/elsewhere",
        "WANDB_SERVICE": "of-a-surrounding-run",
    }
    passed = wandb_environment(Path("/study/wandb/.work/1"), Path("/study/wandb/data"), users)
    assert passed["WANDB_API_KEY"] == "k"
    assert passed["PATH"] == "/bin"
    assert "WANDB_RUN_ID" not in passed
    assert "WANDB_SERVICE" not in passed
    folders = [value for name, value in passed.items() if name.endswith("_DIR")]
    assert len(folders) == 4
    assert all(folder.startswith("/study/wandb/") for folder in folders)


def test_run_ids_differ_by_study_and_trial_and_hold_no_forbidden_character():
    ids = {run_id(study, trial_key(number)) for study in ("a:b;c", "0f-1e") for number in (0, 12345)}
    assert len(ids) == 4
    assert not set("".join(ids)) & set(":;,#?/'")
