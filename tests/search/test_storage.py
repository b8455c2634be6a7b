"""The Optuna storage as others see it: the dashboard, and a shared PostgreSQL."""

import contextlib
import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import optuna
import optuna_dashboard
import pytest

from loratory.search import run_study
from loratory.search.optuna_rows import open_rows
from loratory.spaces import InputError


def _get(application, path: str) -> dict:
    status = []
    environment = {
        "REQUEST_METHOD": "GET",
        "PATH_INFO": path,
        "SERVER_NAME": "localhost",
        "SERVER_PORT": "80",
        "wsgi.url_scheme": "http",
    }
    body = b"".join(application(environment, lambda line, _headers, _info=None: status.append(line)))
    assert status == ["200 OK"], status
    return json.loads(body)


def test_the_dashboard_shows_what_the_records_say(toy_study, tmp_path):
    faults = {"oom": 0.1, "diverge": 0.1, "crash": 0.1}
    result = run_study(toy_study(trials=15, toy={"faults": faults}), runs=tmp_path, local=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{result.folder.database}")
    application = optuna_dashboard.wsgi(storage)
    (summary,) = _get(application, "/api/studies")["study_summaries"]
    shown = _get(application, f"/api/studies/{summary['study_id']}")["trials"]
    records = result.folder.read_records()
    assert len({record.state for record in records}) == 4
    assert [trial["number"] for trial in shown] == [record.number for record in records]
    for trial, record in zip(shown, records, strict=True):
        state = {"COMPLETE": "Complete", "FAIL": "Fail"}.get(record.state, "Pruned")
        assert trial["state"] == state
        values = {point["step"]: point["value"] for point in trial["intermediate_values"]}
        assert values == {m.step: m.metrics["rougeL"] for m in record.measurements}
        if record.values:
            assert [float(value) for value in trial["values"]] == record.values
        if record.state == "INFEASIBLE":
            # The dashboard reads only the constraints of older Optuna versions: an attribute says why.
            assert [attribute["key"] for attribute in trial["user_attrs"]] == ["infeasible"]


@pytest.fixture(scope="module")
def postgresql(tmp_path_factory) -> Iterator[str]:
    """URL of a server of our own, reached through a socket in a temporary folder."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    initdb = shutil.which("initdb") or (str(programs[-1]) if programs else None)
    if initdb is None:
        pytest.skip("NEEDS POSTGRESQL: initdb was not found")
    folder = Path("/tmp") / f"loratory-pg-{os.getpid()}"
    folder.mkdir(mode=0o700)
    user = None
    if os.geteuid() == 0:
        # PostgreSQL refuses to run as root; its package brings a user.
        user = pwd.getpwnam("postgres")
        os.chown(folder, user.pw_uid, user.pw_gid)
    options = {"user": user.pw_uid, "group": user.pw_gid} if user else {}
    data, control = folder / "data", Path(initdb).with_name("pg_ctl")

    def call(*command: object) -> None:
        subprocess.run([*map(str, command)], check=True, capture_output=True, cwd=folder, **options)

    call(initdb, "-D", data, "-U", "loratory", "-A", "trust")
    call(
        control, "-D", data, "-w", "-l", folder / "log", "-o", f"-k {folder} -c listen_addresses=''", "start"
    )
    try:
        yield f"postgresql+psycopg://loratory@/postgres?host={folder}"
    finally:
        call(control, "-D", data, "-m", "immediate", "stop")
        with contextlib.suppress(OSError):
            shutil.rmtree(folder)


@pytest.mark.postgresql
def test_a_team_shares_a_postgresql_storage(postgresql, toy_study, tmp_path, assert_agreement):
    study = toy_study(trials=8, storage=postgresql)
    for trials in (4, 8):
        result = run_study(study.model_copy(update={"trials": trials}), runs=tmp_path / "mine", local=True)
    assert not result.folder.database.exists()
    assert len(result.folder.read_records()) == 8
    assert_agreement(open_rows(result.folder, result.folder.read_manifest()), result.folder)
    with pytest.raises(InputError, match="already has another study named toy"):
        run_study(study, runs=tmp_path / "yours", local=True)
