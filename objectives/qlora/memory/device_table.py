"""Memory, memory bandwidth and matrix rate of NVIDIA GPUs, as published.

Memory is what the driver reports in all, in GiB, by `torch.cuda.get_device_properties` or the errors that
PyTorch prints ("GPU 0 has a total capacity of 21.99 GiB"): under the nominal size, by the driver's own part
and by ECC. Where several figures are known, the lowest stands here.

Bandwidth and rate are those of NVIDIA's data sheets and architecture papers: "Tesla V100", "Tesla T4", "A10",
"A30", "A40", "A100", "L4", "L40", "L40S", "H100", "H200", "GH200", "HGX B200" and "RTX A4000" to "RTX PRO
6000" (data sheets), "Turing", "Ampere GA102" (appendix A), "Ada" (appendix A), "RTX Blackwell" (appendix).
The rate is that of dense tensor cores (a data sheet with an asterisk has twice as much, for sparse matrices),
16-bit inputs and sums in fp32: on GeForce cards half of what they do with sums in fp16. That of the A10G is
from Amazon's page of the G5 instances.
"""

from typing import NamedTuple


class DeviceRow(NamedTuple):
    """A GPU.

    Attributes:
        name: as people call it.
        gibibytes: memory that the driver reports.
        gigabytes_per_second: memory bandwidth, 10^9 bytes per second.
        teraflops: dense 16-bit matrix products, 10^12 operations per second.
        other_names: other names; one that several GPUs have means the first of them.
    """

    name: str
    gibibytes: float
    gigabytes_per_second: float
    teraflops: float
    other_names: tuple[str, ...] = ()


WITHOUT_BF16 = (
    DeviceRow("T4", 14.56, 320, 65),
    DeviceRow("V100 16 GB", 15.75, 900, 125, ("V100", "V100 SXM2", "V100-SXM2-16GB", "V100-PCIE-16GB")),
    DeviceRow("V100 32 GB", 31.73, 900, 125, ("V100", "V100 SXM2", "V100-SXM2-32GB", "V100-PCIE-32GB")),
    DeviceRow("RTX 2080 Ti", 10.75, 616, 53.8),
    DeviceRow("Titan RTX", 23.62, 672, 130.5),
    DeviceRow("Quadro RTX 6000", 22.0, 672, 130.5),
    DeviceRow("Quadro RTX 8000", 44.5, 672, 130.5),
)
"""GPUs before Ampere (compute capability 7.0 and 7.5): fp16 instead of bf16."""

WITH_BF16 = (
    DeviceRow("RTX 3060", 11.75, 360, 25.5, ("RTX 3060 12 GB",)),
    DeviceRow("RTX 3060 Ti", 7.78, 448, 32.4),
    DeviceRow("RTX 3070", 7.78, 448, 40.6),
    DeviceRow("RTX 3080 10 GB", 9.77, 760, 59.5, ("RTX 3080",)),
    DeviceRow("RTX 3080 12 GB", 11.76, 912, 61.3, ("RTX 3080",)),
    DeviceRow("RTX 3080 Ti", 11.76, 912, 68.2),
    DeviceRow("RTX 3090", 23.67, 936, 71),
    DeviceRow("RTX 3090 Ti", 23.67, 1008, 80),
    DeviceRow("RTX 4060", 7.72, 272, 30.2),
    DeviceRow("RTX 4060 Ti 8 GB", 7.72, 288, 44.1, ("RTX 4060 Ti",)),
    DeviceRow("RTX 4060 Ti 16 GB", 15.58, 288, 44.1, ("RTX 4060 Ti",)),
    DeviceRow("RTX 4070", 11.6, 504, 58.3),
    DeviceRow("RTX 4070 Super", 11.6, 504, 71),
    DeviceRow("RTX 4070 Ti", 11.6, 504, 80.2),
    DeviceRow("RTX 4070 Ti Super", 15.57, 672, 88.2),
    DeviceRow("RTX 4080", 15.57, 717, 97.5),
    DeviceRow("RTX 4080 Super", 15.57, 736, 104.4),
    DeviceRow("RTX 4090", 23.52, 1008, 165.2),
    DeviceRow("RTX 5060 Ti 16 GB", 15.46, 448, 47.4, ("RTX 5060 Ti",)),
    DeviceRow("RTX 5070", 11.5, 672, 61.7),
    DeviceRow("RTX 5070 Ti", 15.46, 896, 87.9),
    DeviceRow("RTX 5080", 15.46, 960, 112.6),
    DeviceRow("RTX 5090", 31.36, 1792, 209.5),
    DeviceRow("RTX A4000", 15.6, 448, 76.7),
    DeviceRow("RTX A5000", 23.5, 768, 111.1),
    DeviceRow("RTX A6000", 47.4, 768, 154.8),
    DeviceRow("RTX 4000 Ada", 19.5, 360, 106.9),
    DeviceRow("RTX 5000 Ada", 31.5, 576, 261.1),
    DeviceRow("RTX 6000 Ada", 47.4, 960, 364.2, ("Ada 6000",)),
    DeviceRow("RTX PRO 6000", 94.9, 1792, 503.8, ("RTX PRO 6000 96 GB",)),
    DeviceRow("A10", 21.99, 600, 125),
    DeviceRow("A10G", 21.98, 600, 70),
    DeviceRow("A30", 23.5, 933, 165),
    DeviceRow("A40", 44.35, 696, 149.7),
    DeviceRow("L4", 21.95, 300, 121),
    DeviceRow("L40", 44.39, 864, 181),
    DeviceRow("L40S", 44.39, 864, 362),
    DeviceRow("A100 40 GB", 39.38, 1555, 312, ("A100", "A100-40", "A100-SXM4-40GB", "A100-PCIE-40GB")),
    DeviceRow("A100 80 GB", 79.14, 1935, 312, ("A100", "A100-80", "A100-SXM4-80GB", "A100 80GB PCIe")),
    DeviceRow("H100 SXM", 79.1, 3350, 989.4, ("H100", "H100 80 GB", "H100 80GB HBM3", "H100-SXM5-80GB")),
    DeviceRow("H100 PCIe", 79.1, 2000, 756, ("H100 PCIe 80 GB",)),
    DeviceRow("H100 NVL", 93.0, 3938, 835.5, ("H100 NVL 94 GB",)),
    DeviceRow("H20", 95.0, 4000, 148, ("H20 96 GB",)),
    DeviceRow("H200", 139.7, 4800, 989.4, ("H200 SXM", "H200 141 GB")),
    DeviceRow("H200 NVL", 139.7, 4800, 835.5),
    DeviceRow("GH200 96 GB", 94.5, 4000, 989.4, ("GH200", "GH200 480GB")),
    DeviceRow("GH200 144 GB", 139.7, 4900, 989.4, ("GH200", "GH200 144G HBM3e")),
    DeviceRow("B200", 178.3, 7700, 2250, ("B200 180 GB", "B200 192 GB")),
)
"""GPUs from Ampere on (compute capability 8.0 and more)."""

MEASURED = frozenset({"H100 SXM", "H200"})
"""Names of the GPUs on which durations were measured: docs/performance.md."""
