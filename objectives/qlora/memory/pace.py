"""Predicted time of a study's work on a worker, by which arrangements are compared.

A pass takes a fixed time and a time per token. Fixed: the base's matrices are dequantised once per direction (three
times where activations are recomputed), limited by the memory's bandwidth, and kernels are launched one by one where
there is no graph. Per token: two floating-point operations per weight and direction (and once more where activations
are recomputed); the frozen weights need no gradient.
"""

from dataclasses import dataclass

from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import ModelFacts, Workload

_SHARE_OF_PEAK = 0.6  # of the matrix units' rate, as measured at 1B and 7B (docs/performance.md)
_SHARE_OF_BANDWIDTH = 0.7
_KERNELS_PER_LAYER, _SECONDS_PER_LAUNCH = 90, 6e-6  # forward and backward
_HOST_BYTES_PER_SECOND = 12e9  # between main memory and the device
_MEAN_SHARE_OF_ANSWER = 0.5  # of the longest answer
_SECONDS_PER_STEP = 2e-3  # of decoding, beside reading the base


@dataclass(frozen=True, kw_only=True)
class DeviceRates:
    """Peak rates of a device.

    Attributes:
        flops_per_second: of dense matrix products in half precision.
        bytes_per_second: of its memory.
    """

    flops_per_second: float
    bytes_per_second: float


H100 = DeviceRates(flops_per_second=989e12, bytes_per_second=3.35e12)
"""NVIDIA's data sheet of the H100 SXM."""


def seconds_per_pass(
    facts: ModelFacts,
    tokens: float,
    *,
    hold_base: bool,
    checkpointing: bool,
    graphs: bool,
    rates: DeviceRates = H100,
) -> float:
    """Return the time of a training pass of some tokens."""
    directions = 3 if checkpointing else 2
    weights = facts.linear_numbers + facts.head_numbers
    fixed = 0.0
    if facts.held_bytes and not hold_base:
        moved = facts.base_bytes + facts.held_bytes
        fixed += directions * moved / (rates.bytes_per_second * _SHARE_OF_BANDWIDTH)
    if not graphs:
        fixed += facts.layers * _KERNELS_PER_LAYER * directions / 2 * _SECONDS_PER_LAUNCH
    # A small pass reads the weights longer than it multiplies them.
    reading = weights * facts.compute_bytes * directions / (rates.bytes_per_second * _SHARE_OF_BANDWIDTH)
    multiplying = 2 * directions * weights * tokens / (rates.flops_per_second * _SHARE_OF_PEAK)
    return fixed + max(reading, multiplying)


def study_seconds(
    facts: ModelFacts, workload: Workload, size: EngineSize, rates: DeviceRates = H100
) -> float:
    """Return the time that one worker would take for all trials, training and decoding."""
    return _training(facts, workload, size, rates) + _decoding(facts, workload, size, rates)


def _training(facts: ModelFacts, workload: Workload, size: EngineSize, rates: DeviceRates) -> float:
    batch = (workload.smallest_batch * workload.largest_batch) ** 0.5
    tokens = max(workload.mean_tokens, min(size.tokens_per_pass, size.slots * batch * workload.mean_tokens))
    trained = workload.trials * workload.trained_tokens
    passes = trained / tokens
    seconds = passes * seconds_per_pass(
        facts,
        tokens,
        hold_base=size.hold_base,
        checkpointing=size.checkpointing,
        graphs=size.graphs,
        rates=rates,
    )
    if size.offload:
        moved = 4 * (size.optimizer_bits / 8) * workload.numbers_per_slot  # two moments, there and back
        seconds += trained / (batch * workload.mean_tokens) * moved / _HOST_BYTES_PER_SECOND
    return seconds


def _decoding(facts: ModelFacts, workload: Workload, size: EngineSize, rates: DeviceRates) -> float:
    if not (size.decoding_rows and workload.decoded_prompts):
        return 0.0
    rows = max(1, min(size.decoding_rows, size.slots * workload.prompts))
    steps = (
        workload.trials * workload.decoded_prompts * workload.max_new_tokens * _MEAN_SHARE_OF_ANSWER / rows
    )
    read = facts.base_bytes + (0 if size.hold_base else facts.held_bytes)
    if size.hold_base:
        read = facts.held_bytes + facts.other_numbers * facts.compute_bytes
    per_step = read / (rates.bytes_per_second * _SHARE_OF_BANDWIDTH) + _SECONDS_PER_STEP
    if not size.graphs:
        per_step += facts.layers * _KERNELS_PER_LAYER / 3 * _SECONDS_PER_LAUNCH
    return steps * per_step
