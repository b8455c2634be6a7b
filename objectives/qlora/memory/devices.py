"""GPUs by name, by size or as they are here: memory, bandwidth and matrix rate."""

import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import TYPE_CHECKING

from loratory.objectives.qlora.memory.device_table import MEASURED, WITH_BF16, WITHOUT_BF16, DeviceRow
from loratory.spaces.errors import InputError

if TYPE_CHECKING:
    import torch

_FILLER = re.compile(
    r"\b(nvidia|geforce|tesla|quadro|rtx|gpu|graphics|generation|blackwell|(server|workstation) edition)\b"
)
_SIZE = re.compile(r"(\d+(?:\.\d+)?) *(?:(g|gi|gib)?|(gb)|(m|mi|mib)|(mb))", re.IGNORECASE)
_UNITS = (2**30, 10**9, 2**20, 10**6)
_SECONDS_TO_ANSWER = 10


@dataclass(frozen=True, kw_only=True)
class Gpu:
    """A GPU.

    Attributes:
        name: as people call it, or as its driver does.
        memory_bytes: memory that the driver reports in all.
        bandwidth_bytes_per_second: of its memory.
        half_flops_per_second: of dense matrix products in bf16, or fp16 where bf16 is missing.
        has_bf16: whether it computes in bf16.
        measured: whether durations were measured on it; False: they follow from data sheets.
        speed_known: whether bandwidth and rate are its own; False: those of another GPU with as much memory,
            good for choosing an arrangement, not for durations.
    """

    name: str
    memory_bytes: int
    bandwidth_bytes_per_second: float
    half_flops_per_second: float
    has_bf16: bool
    measured: bool
    speed_known: bool = True


def gpu_named(text: str) -> Gpu:
    """Return the GPU of that name; case, spaces, hyphens and the maker's name do not matter.

    A name of several GPUs, such as A100, means the one with the least memory.

    Raises:
        InputError: no GPU of the table has that name.
    """
    found = _by_key().get(_key(text))
    if found:
        return found[0]
    near = get_close_matches(_key(text), list(_by_key()), n=3, cutoff=0.5)
    names = list(dict.fromkeys(_by_key()[key][0].name for key in near)) or [
        "RTX 3060",
        "RTX 4090",
        "A100 80 GB",
    ]
    raise InputError(
        f"--gpu: must be a GPU of the table, such as {', '.join(names)}, got {text!r}; "
        "or name its memory: --memory 24GiB"
    )


def others_named(text: str) -> tuple[str, ...]:
    """Return the names of further GPUs with a name, beside the one that `gpu_named` takes."""
    return tuple(gpu.name for gpu in _by_key().get(_key(text), [])[1:])


def gpu_of_memory(text: str) -> Gpu:
    """Return a GPU of unknown speed with that much memory: 24GiB, 24GB (10^9 bytes), 24576MiB; 24 is GiB.

    Raises:
        InputError: the text is no size.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None or float(match[1]) <= 0:
        raise InputError(
            f"--memory: must be a size such as 24GiB, got {text!r}; units are GiB, GB, MiB and MB"
        )
    unit = next((unit for unit, given in zip(_UNITS, match.groups()[1:], strict=True) if given), 2**30)
    size = int(float(match[1]) * unit)
    return _of_unknown_speed(f"a GPU of {size / 2**30:.1f} GiB", size, has_bf16=True)


def gpu_of_device(device: "torch.device") -> Gpu:
    """Return the GPU that is here, with the memory that its driver reports.

    Asking for properties makes no CUDA context, which would take half a GiB of it (`mem_get_info` makes one).
    """
    import torch

    properties = torch.cuda.get_device_properties(device)
    alike = _by_key().get(_key(properties.name), [])
    total = int(properties.total_memory)
    if not alike:
        return _of_unknown_speed(properties.name, total, has_bf16=properties.major >= 8)
    nearest = min(alike, key=lambda gpu: abs(gpu.memory_bytes - total))
    return replace(nearest, memory_bytes=total)


def free_bytes(device: "torch.device") -> int | None:
    """Return the memory that no process has taken of a GPU; None where `nvidia-smi` cannot tell.

    CUDA would tell only in a context of this process, which itself takes half a GiB.
    """
    import torch

    identity = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    command = [
        "nvidia-smi",
        f"--id=GPU-{identity}",
        "--query-gpu=memory.free",
        "--format=csv,noheader,nounits",
    ]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=_SECONDS_TO_ANSWER, check=True
        )
        return int(answer.stdout) * 2**20
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def all_gpus() -> Iterator[Gpu]:
    """Yield the GPUs of the table."""
    for rows, has_bf16 in ((WITHOUT_BF16, False), (WITH_BF16, True)):
        for row in rows:
            yield _gpu(row, has_bf16=has_bf16)


def _gpu(row: DeviceRow, *, has_bf16: bool) -> Gpu:
    return Gpu(
        name=row.name,
        memory_bytes=int(row.gibibytes * 2**30),
        bandwidth_bytes_per_second=row.gigabytes_per_second * 1e9,
        half_flops_per_second=row.teraflops * 1e12,
        has_bf16=has_bf16,
        measured=row.name in MEASURED,
    )


def _of_unknown_speed(name: str, memory_bytes: int, *, has_bf16: bool) -> Gpu:
    alike = [gpu for gpu in all_gpus() if gpu.has_bf16 is has_bf16]
    nearest = min(alike, key=lambda gpu: abs(gpu.memory_bytes - memory_bytes))
    return replace(nearest, name=name, memory_bytes=memory_bytes, measured=False, speed_known=False)


def _by_key() -> dict[str, list[Gpu]]:
    """Return the GPUs of each name, those with little memory first."""
    found: dict[str, list[Gpu]] = {}
    for row, gpu in zip((*WITHOUT_BF16, *WITH_BF16), all_gpus(), strict=True):
        for key in dict.fromkeys(map(_key, (row.name, *row.other_names))):
            found.setdefault(key, []).append(gpu)
    return found


def _key(name: str) -> str:
    """Return what tells a GPU's name from others: `NVIDIA A100-SXM4-40GB` gives `a100sxm440g`."""
    plain = _FILLER.sub(" ", re.sub(r"[^a-z0-9]+", " ", name.lower()))
    return re.sub(r"[^a-z0-9]+", "", re.sub(r"(\d) ?gi?b?\b", r"\1g", plain))
