"""The files of a base with weights: those that transformers reads, and the number formats in them."""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from loratory.objectives.qlora.base.reference import BaseReference

# transformers takes the first that is there.
_CHOICES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
_MOST_POINTER_BYTES = 1024
_ANY = ("*.safetensors", "pytorch_model*.bin")
# Of weights, and of buffers such as positions and masks. Others are those of quantised matrices.
_PLAIN = {"F64", "F32", "F16", "BF16", "I64", "BOOL"} | {
    *("float64", "float32", "float16", "bfloat16", "int64", "bool"),  # in files of torch
}


def weights_folder(reference: BaseReference) -> Path:
    """Return the folder with the files of a base, which for a Hub id must have been downloaded."""
    if (folder := Path(reference.source)).is_dir():
        return folder
    from huggingface_hub import snapshot_download

    return Path(snapshot_download(reference.source, revision=reference.revision, local_files_only=True))


def files_read(folder: Path) -> tuple[Path, ...]:
    """Return the files that transformers reads weights from; empty where none has a usual name."""
    chosen = next((folder / name for name in _CHOICES if (folder / name).is_file()), None)
    if chosen is None or chosen.suffix != ".json":
        return () if chosen is None else (chosen,)
    names = set(json.loads(chosen.read_text(encoding="utf-8"))["weight_map"].values())
    return tuple(folder / name for name in sorted(names))


def git_pointers(folder: Path) -> list[str]:
    """Return the names of files that Git LFS has not fetched: a few lines of text in place of weights."""
    paths = sorted(path for any_ in _ANY for path in folder.glob(any_))
    small = [path for path in paths if path.stat().st_size < _MOST_POINTER_BYTES]
    return [path.name for path in small if path.read_bytes().startswith(b"version https://git-lfs")]


def files_not_read(folder: Path, read: Iterable[Path]) -> tuple[str, ...]:
    """Return the names of further files with weights: another format, or what an earlier save left."""
    names = {path.name for path in read}
    return tuple(sorted(path.name for any_ in _ANY for path in folder.glob(any_) if path.name not in names))


def quantized_matrices(files: Iterable[Path]) -> Iterator[tuple[str, str]]:
    """Yield name and number format of each matrix that holds no plain numbers; no weights are read.

    Args:
        files: of weights.
    """
    for path in files:
        for name, dimensions, number_format in _tensors(path):
            if dimensions > 1 and number_format not in _PLAIN:
                yield name, number_format


def _tensors(path: Path) -> Iterator[tuple[str, int, str]]:
    """Yield name, number of dimensions and number format of each tensor in a file."""
    if path.suffix == ".safetensors":
        from safetensors import safe_open

        with safe_open(path, framework="numpy") as opened:
            for name in opened.keys():  # noqa: SIM118 (no mapping)
                tensor = opened.get_slice(name)
                yield name, len(tensor.get_shape()), tensor.get_dtype()
        return
    import torch

    for name, tensor in torch.load(path, map_location="meta", weights_only=True).items():
        if isinstance(tensor, torch.Tensor):
            yield name, tensor.ndim, str(tensor.dtype).removeprefix("torch.")
