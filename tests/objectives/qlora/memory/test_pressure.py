import torch

from loratory.objectives.qlora.memory.pressure import AllocationPressure, allocation_retries


def test_a_full_gpu_is_told_once_and_only_if_it_is_full_all_the_time():
    retries, seconds = [5], [0.0]
    pressure = AllocationPressure(lambda: retries[0], now=lambda: seconds[0])

    def after(more, elapsed):
        retries[0] += more
        seconds[0] += elapsed
        return pressure.line()

    assert after(1000, 1) is None  # too early to tell
    assert "emptied 1000 times in 30 s" in (after(0, 29) or "")
    assert after(1000, 30) is None

    pressure = AllocationPressure(lambda: retries[0], now=lambda: seconds[0])
    assert [after(10, 30) for _ in range(5)] == [None] * 5
    assert "emptied 40 times in 20 s" in (after(40, 20) or "")


def test_a_cpu_has_no_cache_to_empty():
    assert allocation_retries(torch.device("cpu")) == 0
