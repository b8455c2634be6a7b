"""The device's rate of matrix products, and the tokens per second that it allows."""

import time

import torch

from packing_cells.device_memory import synchronize
from packing_cells.measured import Measured, Options
from packing_cells.models import compute_dtype
from packing_cells.shapes import ModelShape

_PRODUCTS = 10
# A GPU that has rested is faster than its power limit allows in the long run.
_SUSTAINED_AFTER_SECONDS = 3.0


def measure_ceiling(shape: ModelShape, *, options: Options) -> Measured:
    """Measure tokens per second if training were nothing but the base's matrix products at full rate.

    A token costs 2N floating-point operations forward and 2N back to its inputs, with N the parameters of
    linear layers and head; frozen weights need no gradient. The rate is that of a device
    that has rested; a GPU's after some seconds of such products is among the details.
    """
    on_gpu = options.device.type == "cuda"
    size = 8192 if on_gpu else 1024
    seconds = _product_seconds(size, device=options.device)
    rate = 2 * size**3 / seconds
    details = {"matmul_flops_per_second": rate}
    if on_gpu:
        sustained = _product_seconds(size, device=options.device, after_seconds=_SUSTAINED_AFTER_SECONDS)
        details["sustained_matmul_flops_per_second"] = 2 * size**3 / sustained
    return Measured(
        tokens_per_second=rate / (4 * shape.matmul_parameters),
        trials=1,
        steps=0,
        seconds=seconds * _PRODUCTS,
        peak_memory_bytes=0,
        device_memory_bytes=0,
        details=details,
    )


def _product_seconds(size: int, *, device: torch.device, after_seconds: float = 0.0) -> float:
    """Return the mean time of a product of two random square matrices, after `after_seconds` of products."""
    left, right = (torch.randn(size, size, device=device, dtype=compute_dtype(device)) for _ in range(2))
    for _ in range(3):
        torch.matmul(left, right)
    synchronize(device)
    until = time.perf_counter() + after_seconds
    while time.perf_counter() < until:
        torch.matmul(left, right)
        synchronize(device)
    started = time.perf_counter()
    for _ in range(_PRODUCTS):
        torch.matmul(left, right)
    synchronize(device)
    return (time.perf_counter() - started) / _PRODUCTS
