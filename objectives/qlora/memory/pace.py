"""Predicted time of a study's work on a worker, by which arrangements are compared and studies planned.

A pass takes a fixed time and a time per token. Fixed: each kernel of a layer takes a few microseconds however
small the pass is, and the base's matrices are dequantised once per direction. Per token: two floating-point
operations per weight and direction, since the frozen weights need no gradient; reading and writing
activations, by adapters, norms and gated units; and attention. Recomputed activations repeat the forward part
of all of these.

The constants are fitted to the readings of one H200 and one H100 in docs/performance.md, whose rates they
give within 15% (tests/objectives/qlora/memory/test_pace.py). Without overlap, a product of two large matrices
reaches 73% of the rate in the data sheet.
"""

import math
from dataclasses import dataclass

from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import MEAN_SHARE_OF_ANSWER, ModelFacts, Workload

_SHARE_OF_PEAK = 0.73  # of the matrix units' rate, in matrix products
_SHARE_IN_ATTENTION = 0.4
_SHARE_OF_BANDWIDTH = 0.8  # where a small pass waits for the base's weights
_SHARE_IN_DEQUANTISING = 0.45
_BYTES_PER_WIDTH = 400  # read and written per token, layer and number of its width, forward and backward
_KERNELS_PER_LAYER = 90  # forward and backward
_SECONDS_PER_KERNEL = 3e-6  # on the device
# By Python, without a graph: 7B in 8 GiB on an H100 took 0.1 s per step and 0.6 s per recomputing pass.
_SECONDS_PER_LAUNCH = 120e-6
_FORWARD = 1 / 3  # share of a pass's kernels and activations
_SECONDS_BETWEEN_TRIALS = 1.0  # texts are scored, a trial is drawn, its adapter is made: not measured
_HOST_BYTES_PER_SECOND = 12e9  # between main memory and the device
_USUAL_LENGTH, _PREFILLED = 512, 4096  # tokens of a sequence, and of a pass over prompts


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
    length: float = _USUAL_LENGTH,
) -> float:
    """Return the time of a training pass of some tokens, in sequences of `length` tokens."""
    directions, parts = (3, 1 + _FORWARD) if checkpointing else (2, 1.0)
    work = _work_seconds(facts, tokens, directions=directions, parts=parts, rates=rates, length=length)
    work += directions * _dequantising_seconds(facts, hold_base=hold_base, rates=rates)
    return _with_kernels(facts, work, kernels=_KERNELS_PER_LAYER * parts, graphs=graphs)


def seconds_per_step(
    facts: ModelFacts,
    rows: float,
    *,
    positions: float,
    hold_base: bool,
    graphs: bool,
    rates: DeviceRates = H100,
) -> float:
    """Return the time of a decoding step: a token for each of `rows` prompts of `positions` tokens so far."""
    multiplying = 2 * _weights(facts) * rows / (rates.flops_per_second * _SHARE_OF_PEAK)
    reading = _weights(facts) * facts.compute_bytes / (rates.bytes_per_second * _SHARE_OF_BANDWIDTH)
    numbers = 2 * facts.cache.layers * facts.cache.key_heads * facts.cache.width if facts.cache else 0
    cache = rows * positions * numbers * facts.compute_bytes / rates.bytes_per_second
    work = max(multiplying, reading) + cache
    work += _dequantising_seconds(facts, hold_base=hold_base, rates=rates)
    return _with_kernels(facts, work, kernels=_KERNELS_PER_LAYER * _FORWARD, graphs=graphs)


def study_seconds(
    facts: ModelFacts, workload: Workload, size: EngineSize, rates: DeviceRates = H100
) -> float:
    """Return the time that one worker would take for all trials: training, decoding, and between trials."""
    working = training_seconds(facts, workload, size, rates) + decoding_seconds(facts, workload, size, rates)
    # While one slot waits for its next trial, the others go on.
    return working + workload.trials * _SECONDS_BETWEEN_TRIALS / size.slots


def training_seconds(
    facts: ModelFacts, workload: Workload, size: EngineSize, rates: DeviceRates = H100
) -> float:
    """Return the time in which one worker trains all trials to their ends."""
    batch = math.sqrt(workload.smallest_batch * workload.largest_batch)
    # A pass holds whole sequences.
    sequences = max(1, int(min(size.tokens_per_pass / workload.mean_tokens, size.slots * batch)))
    tokens = sequences * workload.mean_tokens
    trained = workload.trials * workload.trained_tokens
    passes = trained / tokens
    seconds = passes * seconds_per_pass(
        facts,
        tokens,
        hold_base=size.hold_base,
        checkpointing=size.checkpointing,
        graphs=size.graphs,
        rates=rates,
        length=workload.mean_tokens,
    )
    if size.offload:
        moved = 4 * (size.optimizer_bits / 8) * workload.numbers_per_slot  # two moments, there and back
        seconds += trained / (batch * workload.mean_tokens) * moved / _HOST_BYTES_PER_SECOND
    return seconds


def decoding_seconds(
    facts: ModelFacts, workload: Workload, size: EngineSize, rates: DeviceRates = H100
) -> float:
    """Return the time in which one worker decodes for all trials, half of the longest answer per prompt."""
    if not (size.decoding_rows and workload.decoded_prompts):
        return 0.0
    prompts = workload.trials * workload.decoded_prompts
    rows = max(1, min(size.decoding_rows, size.slots * workload.prompts))
    answer = workload.max_new_tokens * MEAN_SHARE_OF_ANSWER
    prompt = workload.mean_prompt
    step = seconds_per_step(
        facts,
        rows,
        positions=prompt + answer / 2,
        hold_base=size.hold_base,
        graphs=size.graphs,
        rates=rates,
    )
    return prompts * (prompt * seconds_per_read_token(facts, rates, length=prompt) + answer * step / rows)


def seconds_per_read_token(facts: ModelFacts, rates: DeviceRates = H100, *, length: float) -> float:
    """Return the time per token of a large pass without gradients, in sequences of `length` tokens."""
    seconds = _work_seconds(facts, _PREFILLED, directions=1, parts=_FORWARD, rates=rates, length=length)
    return seconds / _PREFILLED


def _work_seconds(
    facts: ModelFacts, tokens: float, *, directions: int, parts: float, rates: DeviceRates, length: float
) -> float:
    """Return the time of the arithmetic and the traffic of some tokens."""
    weights = _weights(facts)
    multiplying = 2 * directions * weights * tokens / (rates.flops_per_second * _SHARE_OF_PEAK)
    # A small pass reads the weights longer than it multiplies them.
    reading = weights * facts.compute_bytes * directions / (rates.bytes_per_second * _SHARE_OF_BANDWIDTH)
    width = facts.layers * facts.width
    traffic = parts * _BYTES_PER_WIDTH * facts.compute_bytes / 2 * width * tokens / rates.bytes_per_second
    # Causal attention: 2 L operations per token and number of the width forward, 5 L backward.
    attention = (2 * (directions - 1) + 5 if directions > 1 else 2) * length * width * tokens
    return max(multiplying, reading) + traffic + attention / (rates.flops_per_second * _SHARE_IN_ATTENTION)


def _dequantising_seconds(facts: ModelFacts, *, hold_base: bool, rates: DeviceRates) -> float:
    """Return the time to read the stored base and write it in the compute dtype."""
    if hold_base or not facts.held_bytes:
        return 0.0
    moved = facts.base_bytes + facts.held_bytes
    return moved / (rates.bytes_per_second * _SHARE_IN_DEQUANTISING)


def _with_kernels(facts: ModelFacts, work: float, *, kernels: float, graphs: bool) -> float:
    """Return the time with that of the kernels themselves, or of the host that launches them meanwhile."""
    latency = facts.layers * kernels * _SECONDS_PER_KERNEL
    launches = 0.0 if graphs else facts.layers * kernels * _SECONDS_PER_LAUNCH
    return max(work + latency, launches)


def _weights(facts: ModelFacts) -> int:
    """Return the weights that each token is multiplied with."""
    return facts.linear_numbers + facts.head_numbers
