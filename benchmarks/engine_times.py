"""Times of the engine's training and decoding on a GPU, and the kernels that take them.

    python benchmarks/engine_times.py [training] [decoding] [deterministic]

For work on the engine itself; the comparison with others is `packing.py`. Without an argument: training and
decoding. `deterministic` trains as usual, and then with PyTorch's deterministic algorithms.
"""

import sys
import time
from collections.abc import Callable

import torch
from packing_cells.decoding import DecodeLoad, prompt_ids
from packing_cells.device_memory import peak_bytes, start_peak, synchronize
from packing_cells.measured import Options
from packing_cells.ours import PackRun, build_pack, measure_ours, packed_model
from packing_cells.ours_decoding import make_decoder, random_stack
from packing_cells.shapes import SHAPES
from packing_cells.workload import LOGNORMAL, Workload, fixed

from loratory.objectives.packing.decoding.decoder import Decoder, Prompt
from loratory.objectives.packing.decoding.steps import STEPS

DEVICE = torch.device("cuda")
SLOTS, ROWS, LOAD = 8, 512, DecodeLoad()


def time_training(name: str, workload: Workload) -> None:
    options = Options(device=DEVICE)
    try:
        measured = measure_ours(SHAPES[name], workload, slots=SLOTS, steps=8, options=options)
    except torch.OutOfMemoryError:
        print(f"{name}, {workload.name}: out of memory", flush=True)
    else:
        print(
            f"{name}, {workload.name}: {measured.tokens_per_second:,.0f} tokens/s, "
            f"{measured.peak_memory_bytes / 2**30:.1f} GiB of tensors, {measured.details}",
            flush=True,
        )
    torch.cuda.empty_cache()


def profile_training(name: str, workload: Workload) -> None:
    pack = build_pack(SHAPES[name], slots=SLOTS, options=Options(device=DEVICE))
    run = PackRun(pack, SHAPES[name], workload, steps=10, seed=0, tokens_per_pass=16_384)
    for _ in range(4):
        run.advance()
    print_kernels(f"{name}, {workload.name}, three passes", lambda: [run.advance() for _ in range(3)])


def training() -> None:
    for name, workload in (("1b", fixed(512)), ("1b", fixed(8192)), ("7b", fixed(512)), ("7b", LOGNORMAL)):
        time_training(name, workload)
    profile_training("1b", fixed(8192))


def deterministic() -> None:
    for wanted in (False, True):
        torch.use_deterministic_algorithms(wanted, warn_only=True)
        torch.utils.deterministic.fill_uninitialized_memory = False
        print(f"deterministic algorithms: {wanted}")
        for tokens in (512, 2048):
            time_training("1b", fixed(tokens))
    torch.use_deterministic_algorithms(False)


def decoding(name: str = "1b") -> None:
    packed = packed_model(SHAPES[name], options=Options(device=DEVICE))
    stack = random_stack(packed, adapters=LOAD.adapters)
    for held in (True, False):
        packed.hold_base() if held else packed.release_base()
        decoder = make_decoder(packed, stack, LOAD, rows=ROWS)
        decoder.add(prompts(name, seed=1))
        finish(decoder)
        time_decoding(f"{name}, base held: {held}", decoder, prompts(name, seed=2))
        decoder.add(prompts(name, seed=3))
        decoder.advance()
        print_kernels(f"{name}, {STEPS} steps of decoding", decoder.advance)
        del decoder  # and its cache, before the next one's


def prompts(name: str, *, seed: int) -> list[Prompt]:
    """Return different prompts for every adapter."""
    return [
        Prompt(slot=slot, key=(slot, number), ids=tuple(ids))
        for slot in range(LOAD.adapters)
        for number, ids in enumerate(prompt_ids(LOAD, SHAPES[name], seed=100 * seed + slot).tolist())
    ]


def time_decoding(title: str, decoder: Decoder, given: list[Prompt]) -> None:
    decoder.add(given)
    start_peak(DEVICE)
    synchronize(DEVICE)
    started = time.perf_counter()
    decoder.advance()
    first = time.perf_counter() - started
    steps = STEPS * finish(decoder)
    seconds = time.perf_counter() - started
    print(
        f"{title}: {len(given) * LOAD.new_tokens / seconds:,.0f} new tokens/s, "
        f"prompts and first {STEPS} steps {first:.2f} s, "
        f"then {1000 * (seconds - first) / max(1, steps):.2f} ms per step of {ROWS} rows, "
        f"{peak_bytes(DEVICE) / 2**30:.1f} GiB of tensors",
        flush=True,
    )


def finish(decoder: Decoder) -> int:
    """Return the number of calls of `advance` until the decoder was done."""
    times = 0
    while decoder.busy:
        decoder.advance()
        times += 1
    return times


def print_kernels(title: str, work: Callable[[], object]) -> None:
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
        work()
        synchronize(DEVICE)
    kernels = sorted(profiled.key_averages(), key=lambda kernel: -kernel.self_device_time_total)
    total = sum(kernel.self_device_time_total for kernel in kernels)
    print(f"{title}: {total / 1000:.1f} ms of kernels")
    for kernel in kernels[:20]:
        print(f"  {kernel.self_device_time_total / 1000:8.2f} ms {kernel.count:6d} times {kernel.key[:90]}")


def main() -> None:
    parts = {"training": training, "decoding": decoding, "deterministic": deterministic}
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    for part in sys.argv[1:] or ["training", "decoding"]:
        parts[part]()


if __name__ == "__main__":
    main()
