from pathlib import Path

import pytest
import torch

from loratory.objectives.qlora.memory import device_name, is_out_of_memory, peak_memory_bytes, versions


def test_host_allocation_that_cannot_succeed_is_out_of_memory():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(2**60, dtype=torch.uint8, device="cpu")
    assert is_out_of_memory(caught.value)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("x"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling"), False),
        (RuntimeError("shape"), False),
    ],
)
def test_kinds_of_errors_are_told_apart(error, expected):
    assert is_out_of_memory(error) is expected


def test_peak_memory_is_the_kernels_high_water_mark():
    lines = Path("/proc/self/status").read_text().splitlines()
    kibibytes = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:"))
    assert peak_memory_bytes(torch.device("cpu")) == pytest.approx(kibibytes * 1024, rel=0.05)


def test_device_and_versions_have_names():
    assert device_name(torch.device("cpu"))
    assert (
        versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
    )
