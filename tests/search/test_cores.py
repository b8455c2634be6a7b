"""Cores by every limit, each in files and variables as the kernel and Slurm write them."""

import os

import pytest

from loratory.search.executors.cores import usable_cores

MODULE = "loratory.search.executors.cores"


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A function: paths to what stands in the kernel's files, to the cores; the machine has 16."""
    for name in ("proc", "cgroup"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(f"{MODULE}._{name.upper()}", tmp_path / name)
    monkeypatch.setattr("os.sched_getaffinity", lambda _pid: set(range(16)))

    def cores(files=(), **environment):
        for name, text in dict(files).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return usable_cores(environment)

    return cores


def test_the_affinity_counts_and_not_the_machine():
    allowed = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(allowed)})
        assert usable_cores({}) == 1
    finally:
        os.sched_setaffinity(0, allowed)
    assert 1 <= usable_cores({}) <= len(allowed)


@pytest.mark.parametrize(
    ("quota", "cores"), [("max 100000\n", 16), ("250000 100000\n", 2), ("50000 100000\n", 1), ("", 16)]
)
@pytest.mark.parametrize("group", ["", "/job", "/job/step"])
def test_the_quota_of_a_group_counts_and_half_a_core_is_one(kernel, group, quota, cores):
    assert kernel({"proc/self/cgroup": f"0::{group}\n", f"cgroup{group}/cpu.max": quota}) == cores


def test_a_quota_above_a_group_counts(kernel):
    files = {"proc/self/cgroup": "0::/job/step\n", "cgroup/job/step/cpu.max": "max 100000\n"}
    assert kernel(files | {"cgroup/job/cpu.max": "300000 100000\n"}) == 3


@pytest.mark.parametrize(("quota", "cores"), [("400000", 4), ("-1", 16)])
@pytest.mark.parametrize("controllers", ["cpu", "cpu,cpuacct"])
def test_groups_of_the_first_version(kernel, controllers, quota, cores):
    files = {
        "proc/self/cgroup": f"9:name=systemd:/\n6:memory:/job\n3:cpuset:/job\n1:{controllers}:/job\n",
        f"cgroup/{controllers}/job/cpu.cfs_quota_us": f"{quota}\n",
        f"cgroup/{controllers}/job/cpu.cfs_period_us": "100000\n",
        "cgroup/cpuset/job/cpu.max": "100000 100000\n",
    }
    assert kernel(files) == cores


@pytest.mark.parametrize(
    ("environment", "cores"),
    [
        ({"SLURM_CPUS_PER_TASK": "4", "SLURM_CPUS_ON_NODE": "8"}, 4),
        ({"SLURM_CPUS_ON_NODE": "8"}, 8),
        ({"SLURM_CPUS_ON_NODE": "64"}, 16),
        ({"SLURM_CPUS_PER_TASK": ""}, 16),
        ({}, 16),
    ],
)
def test_the_share_of_a_slurm_job_counts(kernel, environment, cores):
    assert kernel(**environment) == cores
