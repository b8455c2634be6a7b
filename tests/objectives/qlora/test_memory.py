from pathlib import Path

import pytest
import torch

from loratory.objectives.qlora.memory import device_name, host_memory, peak_memory_bytes, versions


def test_peak_memory_is_the_kernels_high_water_mark():
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    assert peak_memory_bytes(torch.device("cpu")) == pytest.approx(kibibytes * 1024, rel=0.05)


def test_device_and_versions_have_names():
    assert device_name(torch.device("cpu"))
    assert (
        versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
    )


@pytest.fixture
def cgroup(tmp_path, monkeypatch):
    """A function: names of files of a control group and what stands in them, to what there is by it."""
    monkeypatch.setattr("loratory.objectives.qlora.memory._CGROUP", tmp_path)

    def memory(**files):
        for name, text in files.items():
            (tmp_path / f"memory.{name}").write_text(text)
        return host_memory()

    return memory


def test_what_the_system_keeps_of_files_can_be_had(cgroup):
    lines = Path("/proc/meminfo").read_text().splitlines()
    kibibytes = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    available, total = cgroup()
    assert available == pytest.approx(kibibytes["MemAvailable"] * 1024, rel=0.1)
    assert total == kibibytes["MemTotal"] * 1024


def test_a_control_group_has_what_its_limit_leaves(cgroup):
    stat = "anon 100\nfile 400\ninactive_file 300\n"
    assert cgroup(max="1000\n", current="600\n", stat=stat) == (700, 1000)
    assert cgroup(max="500\n") == (200, 500)
    assert cgroup(max="100\n") == (0, 100)


def test_a_control_group_without_a_limit_has_what_the_machine_has(cgroup):
    available, total = cgroup(max="max\n", current="600\n", stat="inactive_file 0\n")
    assert 0 < available <= total - 600 and total > 2**20
