import pytest
import torch

from loratory.objectives.packing.out_of_memory import device_is_lost, is_out_of_memory


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


def test_only_an_error_of_the_device_loses_it():
    assert not device_is_lost(RuntimeError("mat1 and mat2 shapes cannot be multiplied"))
    assert not device_is_lost(torch.OutOfMemoryError("too much"))
    assert device_is_lost(torch.AcceleratorError("CUDA error: an illegal memory access was encountered"))
