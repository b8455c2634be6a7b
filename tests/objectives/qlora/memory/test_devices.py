"""GPUs by name, by size and as they are here."""

from types import SimpleNamespace

import pytest
import torch

from loratory.objectives.qlora.memory.devices import (
    Gpu,
    all_gpus,
    free_bytes,
    gpu_named,
    gpu_of_device,
    gpu_of_memory,
)
from loratory.spaces.errors import InputError


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("RTX 4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("nvidia geforce rtx-4090", "RTX 4090"),
        ("A100-40G", "A100 40 GB"),
        ("a100 80gb", "A100 80 GB"),
        ("A100-80", "A100 80 GB"),
        ("A100", "A100 40 GB"),
        ("h100", "H100 SXM"),
        ("H100-PCIe", "H100 PCIe"),
        ("A6000", "RTX A6000"),
        ("NVIDIA RTX 6000 Ada Generation", "RTX 6000 Ada"),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000"),
        ("Tesla T4", "T4"),
        ("l40s", "L40S"),
    ],
)
def test_names_are_forgiving(text: str, name: str) -> None:
    assert gpu_named(text).name == name


def test_an_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(InputError, match=r"--gpu: must be .*RTX 4090.*got 'RTX 4091'; or name its memory"):
        gpu_named("RTX 4091")
    with pytest.raises(InputError, match="such as RTX 3060"):
        gpu_named("?")


def test_a_laptop_or_a_part_of_a_gpu_is_not_the_whole() -> None:
    for name in ("NVIDIA GeForce RTX 4090 Laptop GPU", "NVIDIA H100 80GB HBM3 MIG 1g.10gb"):
        with pytest.raises(InputError):
            gpu_named(name)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("24GiB", 24 * 2**30),
        ("24 GB", 24 * 10**9),
        ("24", 24 * 2**30),
        ("7.5g", int(7.5 * 2**30)),
        ("24576MiB", 24 * 2**30),
        ("500 mb", 500 * 10**6),
    ],
)
def test_a_gpu_by_its_memory(text: str, size: int) -> None:
    gpu = gpu_of_memory(text)
    assert gpu.memory_bytes == size
    assert not gpu.speed_known
    assert not gpu.measured
    assert gpu.half_flops_per_second > 0


@pytest.mark.parametrize("text", ["", "much", "-3GiB", "0", "24TiB", "GiB"])
def test_no_size(text: str) -> None:
    with pytest.raises(InputError, match="--memory: must be a size such as 24GiB"):
        gpu_of_memory(text)


def test_figures_are_in_the_range_of_gpus() -> None:
    gpus = list(all_gpus())
    assert len(gpus) >= 50
    assert len({gpu.name for gpu in gpus}) == len(gpus)
    for gpu in gpus:
        assert gpu_named(gpu.name) == gpu
        assert 7 * 2**30 < gpu.memory_bytes < 180 * 2**30
        assert 20 < gpu.half_flops_per_second / gpu.bandwidth_bytes_per_second < 650
    assert {gpu.name for gpu in gpus if gpu.measured} == {"H100 SXM", "H200"}


def _here(monkeypatch: pytest.MonkeyPatch, name: str, total: int, major: int) -> Gpu:
    properties = SimpleNamespace(name=name, total_memory=total, major=major)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: properties)
    return gpu_of_device(torch.device("cuda", 0))


def test_the_gpu_that_is_here_has_the_memory_of_its_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = _here(monkeypatch, "NVIDIA H100 80GB HBM3", 85 * 10**9, 9)
    assert (gpu.name, gpu.memory_bytes, gpu.measured) == ("H100 SXM", 85 * 10**9, True)
    assert _here(monkeypatch, "NVIDIA A100-SXM4-80GB", 85 * 10**9, 8).name == "A100 80 GB"


def test_of_gpus_with_one_name_memory_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = _here(monkeypatch, "NVIDIA GeForce RTX 3080", 12 * 2**30, 8)
    assert gpu.name == "RTX 3080 12 GB"


def test_a_gpu_that_the_table_lacks_has_no_speed(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = _here(monkeypatch, "NVIDIA H100 80GB HBM3 MIG 1g.10gb", 10 * 10**9, 9)
    assert (gpu.name, gpu.speed_known, gpu.has_bf16) == ("NVIDIA H100 80GB HBM3 MIG 1g.10gb", False, True)
    assert not _here(monkeypatch, "GeForce RTX 2060", 6 * 2**30, 7).has_bf16


@pytest.mark.parametrize(
    ("script", "expected"), [("echo 8192", 8 * 2**30), ("echo '[N/A]'", None), ("exit 6", None), (None, None)]
)
def test_free_memory_is_what_nvidia_smi_says(script, expected, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(uuid="1a-2b"))
    monkeypatch.setenv("PATH", str(tmp_path))
    if script is not None:
        command = tmp_path / "nvidia-smi"
        command.write_text(f'#!/bin/sh\n[ "$1" = --id=GPU-1a-2b ] && {script}\n')
        command.chmod(0o755)
    assert free_bytes(torch.device("cuda", 0)) == expected
