"""What the checks share: the device, a small model's shape, and how an outcome is said."""

import torch
from packing_cells.shapes import ModelShape

DEVICE = torch.device("cuda")
SMALL = ModelShape(
    name="small",
    layers=4,
    hidden=256,
    intermediate=688,
    heads=8,
    key_value_heads=4,
    vocabulary=1000,
    positions=512,
)


def say(name, ok, detail=""):
    print("PASS" if ok else "FAIL", name, detail, flush=True)


def relative(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-30)).item()
