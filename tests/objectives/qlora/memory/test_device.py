from pathlib import Path

import pytest
import torch

from loratory.objectives.qlora.memory.device import device_name, peak_memory_bytes, versions


def test_peak_memory_is_the_kernels_high_water_mark():
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    assert peak_memory_bytes(torch.device("cpu")) == pytest.approx(kibibytes * 1024, rel=0.05)


def test_device_and_versions_have_names():
    assert device_name(torch.device("cpu"))
    assert set(versions(["bitsandbytes"])) - set(versions()) == {"bitsandbytes"}
    assert (
        versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
    )
