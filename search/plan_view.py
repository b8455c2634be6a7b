"""A study's plan in the terminal, in 80 columns."""

import textwrap
from collections.abc import Iterable, Iterator

from loratory.objectives.qlora.memory.engine_size import EngineSize
from loratory.objectives.qlora.memory.study_plan import PlannedWorker, StudyPlan
from loratory.objectives.qlora.memory.terms import MemoryTerms

_COLUMNS = 80
_WORDS = {
    "context": "context of the process",
    "base": "base",
    "held_base": "base held dequantised",
    "adapters": "adapters and gradients",
    "optimizer": "optimiser state",
    "activations": "activations of a pass",
    "graphs": "graphs",
    "cache": "cache of decoding",
    "copies": "copies in flight",
    "fragmentation": "fragmentation",
}


def plan_lines(plan: StudyPlan) -> Iterator[str]:
    """Yield the lines of a whole plan."""
    yield from _wrapped(_for_what(plan))
    yield from _wrapped(_base(plan))
    yield from _wrapped(_data(plan))
    yield ""
    yield from _memory(plan)
    yield ""
    if plan.worker is None:
        yield from _common(plan)
    else:
        yield from _wrapped(_arrangement(plan.worker))
        yield from _wrapped(_durations(plan, plan.worker))
    yield from _wrapped(_afterwards(plan))
    yield from _wrapped(_infeasible(plan))
    yield from _wrapped(_disk(plan))
    yield from _wrapped(_difference(plan))
    for note in plan.notes:
        yield from _wrapped(f"note: {note}")


def summary_lines(plan: StudyPlan) -> Iterator[str]:
    """Yield the few lines that stand before a run on a GPU."""
    if plan.worker is None:
        return
    yield f"plan: {_arrangement(plan.worker)}"
    yield f"plan: {_durations(plan, plan.worker)}; {_disk(plan)}"
    yield f"plan: {_afterwards(plan)}"
    if plan.space.infeasible_share:
        yield f"plan: {_infeasible(plan)}"
    yield f"plan: {_difference(plan)}"


def size_text(number: float) -> str:
    """Return a number of bytes in a readable unit: `812 MiB`, `5.3 GiB`."""
    mebibytes = number / 2**20
    return f"{mebibytes:.0f} MiB" if mebibytes < 1000 else f"{mebibytes / 1024:.1f} GiB"


def duration_text(seconds: float) -> str:
    """Return a duration in a readable unit: `12 s`, `3.4 min`, `26 h`."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    minutes = seconds / 60
    return f"{minutes:.0f} min" if minutes < 100 else f"{minutes / 60:.0f} h"


def _for_what(plan: StudyPlan) -> str:
    on = "any GPU"
    if plan.worker is not None:
        gpu = plan.worker.gpu
        memory = f"{gpu.memory_bytes / 2**30:.1f} GiB"
        on = gpu.name if gpu.name.endswith(memory) else f"{gpu.name}, {memory}"
        on = f"{plan.gpus} x {on}" if plan.gpus > 1 else on
    return f"{plan.study}: {plan.trials} trial{'s' * (plan.trials > 1)} of {plan.base.name} on {on}"


def _base(plan: StudyPlan) -> str:
    base = plan.base
    stored = "not quantised" if base.quantization == "none" else base.quantization
    return (
        f"base: {stored}, {size_text(base.stored_bytes)}, computes in {base.compute_dtype} "
        f"(sizes: {base.sizes_from})"
    )


def _data(plan: StudyPlan) -> str:
    data = plan.data
    counts = f"{data.train:,} to train on, {data.dev} dev, {data.select:,} select"
    counts += f", {data.confirm:,} confirm" * bool(data.confirm) + f", {data.test:,} test" * bool(data.test)
    if data.known:
        lengths = f"{data.mean_tokens:.0f} tokens on average, at most {data.longest_tokens:,}"
        return f"data: {counts}, {lengths} ({data.source})"
    return (
        f"data: not read ({data.source}): every sequence counts as max_length, {data.longest_tokens:,} "
        f"tokens, and the examples as {counts}"
    )


def _memory(plan: StudyPlan) -> Iterator[str]:
    """Yield the table of memory by term."""
    columns: list[tuple[str, MemoryTerms]] = [
        ("smallest trial", plan.space.smallest.terms),
        ("largest trial", plan.space.largest.terms),
    ]
    if plan.worker is not None:
        columns.append(("worker", plan.worker.terms))
    yield f"{'memory, GiB':<24}" + "".join(f"{name:>16}" for name, _ in columns)
    for name, words in _WORDS.items():
        sizes = [getattr(terms, name) for _, terms in columns]
        if any(sizes):
            yield f"{words:<24}" + "".join(f"{size / 2**30:>16.2f}" for size in sizes)
    yield f"{'in all':<24}" + "".join(f"{terms.total / 2**30:>16.2f}" for _, terms in columns)
    low, _, middle, _, high = (size / 2**30 for size in plan.space.quartiles)
    small, large = plan.space.smallest.params, plan.space.largest.params
    yield from _wrapped(
        f"A trial here is alone in the smallest arrangement: rank {small['rank']} and rank {large['rank']}. "
        f"Of {plan.space.sampled:,} random ones the least takes {low:.2f}, the middle {middle:.2f}, the most "
        f"{high:.2f} GiB."
    )


def arrangement_text(size: EngineSize) -> str:
    """Return an arrangement in words."""
    parts = [
        f"{size.slots} trial{'s' * (size.slots > 1)} at once",
        f"{size.tokens_per_pass:,} tokens per pass",
        *([f"up to {size.decoding_rows} prompts decoded at once"] if size.decoding_rows else []),
        "base held" if size.hold_base else "base read in each pass",
        *(["gradient checkpointing"] if size.checkpointing else []),
        *([f"optimiser in {size.optimizer_bits} bits"] if size.optimizer_bits != 32 else []),
        *(["optimiser in main memory"] if size.offload else []),
        *([] if size.graphs else ["no CUDA graphs"]),
    ]
    return ", ".join(parts)


def _arrangement(worker: PlannedWorker) -> str:
    assert worker.size is not None
    return (
        f"arrangement: {arrangement_text(worker.size)}; {size_text(worker.terms.total)} of "
        f"{size_text(worker.usable_bytes)}"
    )


def _durations(plan: StudyPlan, worker: PlannedWorker) -> str:
    durations = worker.durations
    if durations is None:
        return "durations: unknown for a GPU that loratory's table lacks; name one with --gpu"
    hours = durations.gpu_seconds(plan.gpus) / 3600
    source = "measured on this kind" if worker.gpu.measured else "from data sheets"
    examples = "" if plan.data.known else f", for {plan.data.train:,} examples"
    return (
        f"durations ({source}{examples}): {duration_text(durations.seconds_per_trial)} of the GPU per trial, "
        f"{hours:.1f} GPU hours in all if none is pruned, {duration_text(durations.seconds(plan.gpus))} on "
        f"{plan.gpus} GPU{'s' * (plan.gpus > 1)}"
    )


def _afterwards(plan: StudyPlan) -> str:
    """Return what durations and disk count besides the trials."""
    after, data = plan.afterwards, plan.data
    scored = [f"the base on {data.select:,} select examples"]
    if after.confirmed:
        best = f"the best {after.confirmed} trials" if after.confirmed > 1 else "the best trial"
        scored.append(f"{best} and the base on {data.confirm:,} confirm examples")
    if data.test:
        scored.append(f"winner and base on {data.test:,} test examples")
    durations = plan.worker.durations if plan.worker is not None else None
    took = f" ({duration_text(durations.closing_seconds)} of a GPU)" if durations else ""
    text = f"besides the trials, in durations and disk: scoring {', '.join(scored)}{took}"
    if not after.retrainings:
        return text
    settings, seeds = _plural(after.settings, "setting"), _plural(after.seeds, "new seed")
    took = f" ({duration_text(durations.retraining_seconds)} of a GPU)" if durations else ""
    return f"{text}; retraining {settings} on {seeds}{took}"


def _plural(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count > 1)}"


def _common(plan: StudyPlan) -> Iterator[str]:
    """Yield a table of what GPUs of common sizes would run."""
    yield from _wrapped("There is no GPU here: name one by --gpu or --memory. Common sizes would run:")
    for worker in plan.common:
        if worker.size is None:
            text = f"nothing: the smallest trial takes {size_text(worker.terms.total)}"
        else:
            text = arrangement_text(worker.size)
        head = f"{worker.gpu.name:>7}  "
        yield from textwrap.wrap(text, _COLUMNS, initial_indent=head, subsequent_indent=" " * 9)


def _infeasible(plan: StudyPlan) -> str:
    share = plan.space.infeasible_share
    if share is None:
        return ""
    if not share:
        return "space: every trial fits"
    return f"space: {share:.0%} of it cannot fit, {'; '.join(plan.space.infeasible)}"


def _disk(plan: StudyPlan) -> str:
    disk = plan.disk
    return (
        f"disk: at most {size_text(disk.total)} (adapters {size_text(disk.adapters)}, checkpoints of "
        f"running trials {size_text(disk.checkpoints)}, predictions {size_text(disk.predictions)})"
    )


def _difference(plan: StudyPlan) -> str:
    return (
        f"eval: {plan.data.select:,} select examples tell scores apart that differ by about "
        f"{plan.smallest_difference:.0%} of the score, in {plan.trials} trial{'s' * (plan.trials > 1)}"
    )


def _wrapped(text: str) -> Iterable[str]:
    return textwrap.wrap(text, _COLUMNS, subsequent_indent="  ", break_on_hyphens=False) if text else []
