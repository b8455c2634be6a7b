"""Files with weights, and the number formats in their headers."""

import json

import pytest
import torch
from safetensors.torch import save_file

from loratory.objectives.qlora.base.checks.weight_files import files_not_read, files_read, quantized_matrices

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


def names(paths):
    return [path.name for path in paths]


@pytest.mark.parametrize(
    ("files", "read", "not_read"),
    [
        ([SINGLE], [SINGLE], ()),
        ([SINGLE, "pytorch_model.bin"], [SINGLE], ("pytorch_model.bin",)),
        (["pytorch_model.bin"], ["pytorch_model.bin"], ()),
        ([SINGLE, INDEX, "a.safetensors"], [SINGLE], ("a.safetensors",)),
        ([INDEX, "a.safetensors", "b.safetensors"], ["a.safetensors"], ("b.safetensors",)),
        (
            ["pytorch_model.bin.index.json", "pytorch_model-.bin"],
            ["a.safetensors"],
            ("pytorch_model-.bin",),
        ),
        (["consolidated.safetensors"], [], ("consolidated.safetensors",)),
    ],
)
def test_the_files_that_transformers_takes(tmp_path, files, read, not_read):
    for name in files:
        (tmp_path / name).write_text(json.dumps({"weight_map": {"x": "a.safetensors"}}))
    found = files_read(tmp_path)
    assert names(found) == read
    assert files_not_read(tmp_path, found) == not_read


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_matrices_of_small_numbers_are_named_and_buffers_are_not(tmp_path, suffix):
    tensors = {
        "bf16": torch.zeros(2, 2, dtype=torch.bfloat16),
        "positions": torch.zeros(1, 2, dtype=torch.int64),
        "mask": torch.zeros(1, 2, dtype=torch.bool),
        "scalar": torch.zeros((), dtype=torch.int8),
        "packed": torch.zeros(2, 2, dtype=torch.int32),
        "int8": torch.zeros(2, 2, dtype=torch.int8),
        "nf4": torch.zeros(4, 1, dtype=torch.uint8),
        "fp8": torch.zeros(2, 2, dtype=torch.float8_e4m3fn),
    }
    path = tmp_path / f"weights.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(tensors, path)
    formats = {
        "safetensors": ("I32", "I8", "U8", "F8_E4M3"),
        "bin": ("int32", "int8", "uint8", "float8_e4m3fn"),
    }
    names = ("packed", "int8", "nf4", "fp8")
    assert set(quantized_matrices([path])) == set(zip(names, formats[suffix], strict=True))
