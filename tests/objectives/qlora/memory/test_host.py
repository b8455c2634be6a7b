import pytest

from loratory.objectives.qlora.memory.host import host_memory_free

KIB = 1024


@pytest.fixture
def kernel(tmp_path, monkeypatch):
    """A function: paths to what stands in the kernel's files, to what can be had by them."""
    for name in ("proc", "cgroup"):
        (tmp_path / name).mkdir()
        monkeypatch.setattr(f"loratory.objectives.qlora.memory.host._{name.upper()}", tmp_path / name)

    def free(files):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return host_memory_free()

    return free


MACHINE = {"proc/meminfo": "MemTotal:  4000 kB\nMemFree:  100 kB\nMemAvailable:  3000 kB\n"}


def test_what_the_system_keeps_of_files_can_be_had(kernel):
    assert kernel(MACHINE) == 3000 * KIB


def test_this_machine_says_what_it_has():
    assert 0 < host_memory_free() <= 2**50


@pytest.mark.parametrize("group", ["", "/job", "/job/step"])
def test_groups_have_what_their_limits_leave(kernel, group):
    files = MACHINE | {"proc/self/cgroup": f"0::{group}\n"}
    assert kernel(files | {f"cgroup{group}/memory.max": "max\n"}) == 3000 * KIB
    limit = {f"cgroup{group}/memory.max": "1000\n", f"cgroup{group}/memory.current": "900\n"}
    assert kernel(limit) == 100
    assert kernel({f"cgroup{group}/memory.stat": "anon 9\nactive_file 5\ninactive_file 300\n"}) == 400
    assert kernel({f"cgroup{group}/memory.current": "2000\n"}) == 0


def test_a_limit_above_a_group_counts(kernel):
    files = {"proc/self/cgroup": "0::/job/step\n", "cgroup/job/step/memory.max": "max\n"}
    assert kernel(MACHINE | files | {"cgroup/job/memory.max": "500\n"}) == 500


def test_groups_of_the_first_version(kernel):
    files = {
        "proc/self/cgroup": "9:name=systemd:/\n6:memory:/job\n1:cpu,cpuacct:/other\n",
        "cgroup/memory/job/memory.limit_in_bytes": "1000\n",
        "cgroup/memory/job/memory.usage_in_bytes": "800\n",
        "cgroup/memory/job/memory.stat": "inactive_file 9\ntotal_inactive_file 50\n",
        "cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "cgroup/memory.max": "1\n",
    }
    assert kernel(MACHINE | files) == 250


def test_a_group_that_the_process_cannot_see_is_its_containers(kernel):
    """A container may know its group by the name that it has outside, and sees its files at the root."""
    files = {"proc/self/cgroup": "6:memory:/docker/abc\n", "cgroup/memory/memory.limit_in_bytes": "700\n"}
    assert kernel(MACHINE | files) == 700
