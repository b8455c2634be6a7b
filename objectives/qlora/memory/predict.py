"""Peak memory of a worker, term by term, from facts of the base, the workload and the sizes of the engine."""

import math
from dataclasses import replace

from loratory.objectives.packing.decoding.decoder import cache_positions
from loratory.objectives.packing.decoding.pages import PAGE, pages_for
from loratory.objectives.packing.decoding.prefill import PREFILL_TOKENS
from loratory.objectives.packing.moment_formats import MOMENTS, moment_bytes
from loratory.objectives.packing.moments import PIECE_NUMBERS
from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.facts import MEAN_SHARE_OF_ANSWER, ModelFacts, Workload
from loratory.objectives.qlora.memory.terms import MemoryTerms

GIB = 2**30
CONTEXT_BYTES = round(0.76 * GIB)
"""Driver, cuBLAS and compiled kernels of a process: 0.74 to 0.82 GiB on an H100 (torch 2.11, CUDA 13)."""
_BYTES_PER_GRAPH = 24 * 2**20  # of a base with 32 layers
_SHAPES = 12  # graphs that a study captures, roughly: training, losses and prompts in a few sizes each
_STEPS_CAPTURED = 3  # sizes of decoding steps

_LEAST_COPIED = 2**28
_FRAGMENTED = 0.005  # of all tensors, in expandable segments (`base/allocator.py`)


def predict(
    facts: ModelFacts, workload: Workload, size: EngineSize, *, context_bytes: int = CONTEXT_BYTES
) -> MemoryTerms:
    """Predict the memory of a worker at its peak.

    Args:
        facts: of the base.
        workload: of the study.
        size: of the engine.
        context_bytes: of the process.
    """
    terms = MemoryTerms(
        context=context_bytes,
        base=facts.base_bytes,
        held_base=facts.held_bytes if size.hold_base else 0,
        adapters=size.slots * workload.numbers_per_slot * adapter_bytes_per_number(facts, workload),
        optimizer=_optimizer(workload, size),
        activations=_activations(facts, workload, size),
        graphs=_graphs(facts, size),
        cache=cache_bytes(facts, workload, size),
        copies=_copies(workload, size),
        fragmentation=0,
    )
    return replace(terms, fragmentation=round(_FRAGMENTED * (terms.total - context_bytes)))


def adapter_bytes_per_number(facts: ModelFacts, workload: Workload) -> int:
    """Return the bytes per number of a slot: master, gradient, and copies for passes and for scoring."""
    own_copy = facts.compute_bytes if facts.compute_bytes < workload.wide else 0
    return 2 * workload.wide + own_copy + facts.compute_bytes


def moment_bytes_per_number(workload: Workload, *, bits: int) -> float:
    """Return the bytes of a slot's moments per number: two of 32 bits, or of 8 with constants per block."""
    return len(MOMENTS) * moment_bytes(bits, workload.wide)


def cache_bytes(facts: ModelFacts, workload: Workload, size: EngineSize) -> int:
    """Return the keys and values of the prompts that are decoded at once, and of a page for padding."""
    if not size.decoding_rows or facts.cache is None:
        return 0
    pages = size.cache_pages
    if pages is None:
        pages = size.decoding_rows * pages_for(_longest_row(workload))
    numbers = 2 * facts.cache.layers * PAGE * facts.cache.key_heads * facts.cache.width
    return (pages + 1) * numbers * facts.compute_bytes


def cache_pages(workload: Workload, rows: int) -> int:
    """Return the pages for prompts of mean length with expected answers, at least those of the longest."""
    row = workload.mean_prompt + MEAN_SHARE_OF_ANSWER * workload.max_new_tokens
    return max(pages_for(_longest_row(workload)), rows * pages_for(math.ceil(row)))


def _longest_row(workload: Workload) -> int:
    return cache_positions(longest_prompt=workload.longest_prompt, max_new_tokens=workload.max_new_tokens)


def largest_pass(workload: Workload, size: EngineSize) -> int:
    """Return the largest pass to expect, in tokens: large batches in all slots, a full pass, one example."""
    batches = 1.25 * size.slots * workload.largest_batch * workload.mean_tokens
    return max(workload.longest_tokens, min(size.tokens_per_pass, round(batches)))


def prefill_tokens(workload: Workload, size: EngineSize) -> int:
    """Return the most tokens of a pass over prompts."""
    return max(workload.longest_prompt, min(PREFILL_TOKENS, size.tokens_per_pass))


def _activations(facts: ModelFacts, workload: Workload, size: EngineSize) -> int:
    tokens = largest_pass(workload, size)
    passes = facts.activations
    training = passes.checkpointed if size.checkpointing else passes.training
    forward = passes.forward(max(tokens, prefill_tokens(workload, size) if size.decoding_rows else 0))
    return max(training(tokens), forward)


def _graphs(facts: ModelFacts, size: EngineSize) -> int:
    if not size.graphs:
        return 0
    graphs = _SHAPES
    steps = 0
    if size.decoding_rows:
        graphs += _STEPS_CAPTURED
        # Steps have a pool of their own, with the activations and logits of a token per row.
        steps = facts.activations.forward(size.decoding_rows) + facts.largest_matrix_bytes
    return graphs * _BYTES_PER_GRAPH * facts.layers // 32 + steps


def _optimizer(workload: Workload, size: EngineSize) -> int:
    per_number = moment_bytes_per_number(workload, bits=size.optimizer_bits)
    numbers = (
        min(PIECE_NUMBERS, workload.numbers_per_slot)
        if size.offload
        else size.slots * workload.numbers_per_slot
    )
    return round(numbers * per_number)


def copy_limit(workload: Workload) -> int:
    """Return the most bytes of copies that wait on the device to be fetched: one copy, or 256 MiB."""
    return max(_copy_bytes(workload), _LEAST_COPIED)


def _copies(workload: Workload, size: EngineSize) -> int:
    """Return the copies in flight, and the parts that one is made from."""
    matrices = workload.numbers_per_slot * workload.wide
    # Moments that lie in main memory are copied there.
    one = matrices if size.offload else _copy_bytes(workload)
    return matrices + min(max(one, _LEAST_COPIED), size.slots * one)


def _copy_bytes(workload: Workload) -> int:
    """Return the bytes of a copy of matrices and moments, in the master's dtype."""
    return workload.numbers_per_slot * workload.wide * (1 + len(MOMENTS))
