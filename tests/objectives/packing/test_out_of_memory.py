import pytest
import torch

from loratory.objectives.packing.out_of_memory import is_out_of_memory


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
