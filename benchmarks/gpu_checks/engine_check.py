"""Checks of the packed engine on a GPU: kernels, packs against solo runs, graphs against eager.

PYTHONPATH=benchmarks python benchmarks/gpu_checks/engine_check.py [checks] [times]
"""

import sys
import time

import torch
from checking import DEVICE, SMALL, relative, say
from packing_cells.measured import Options
from packing_cells.ours import build_pack, measure_ours
from packing_cells.shapes import SHAPES
from packing_cells.workload import LOGNORMAL, fixed, trial_examples

from loratory.objectives.packing import kernels, products
from loratory.objectives.packing.batch import Batch, train_pass
from loratory.objectives.packing.context import DropoutKeys, Segments, Span
from loratory.objectives.packing.dropout import Dropout, levels, token_keys
from loratory.objectives.packing.loss import cross_entropy
from loratory.objectives.packing.pack import Settings, SlotState


def check_products():
    spans = (Span(0, 0, 96), Span(2, 96, 352), Span(3, 352, 384))
    tokens, granule, slots = 448, 32, 5
    blocks = torch.full((tokens // granule,), -1, dtype=torch.int32)
    bounds = torch.zeros(slots, 2, dtype=torch.int32)
    for slot, a, b in spans:
        blocks[a // granule : b // granule] = slot
        bounds[slot] = torch.tensor([a, b])
    segments = Segments(granule=granule, spans=spans, block_slots=blocks.to(DEVICE), bounds=bounds.to(DEVICE))
    keys = torch.from_numpy(token_keys(seed=1, step=2, position=3, tokens=tokens)).to(DEVICE)
    thresholds = torch.tensor(
        [levels(p) for p in (0.3, 0.0, 0.1, 0.0, 0.5)], dtype=torch.int32, device=DEVICE
    )
    dropped = Dropout(DropoutKeys(tokens=keys, thresholds=thresholds), 12345)
    torch.manual_seed(0)
    for dtype, limit in ((torch.float32, 3e-6), (torch.bfloat16, 6e-3), (torch.float16, 1e-3)):
        for rank, features in ((8, 64), (16, 200), (40, 1000), (128, 5632)):
            for dropout in (None, dropped):
                m = torch.randn(slots, rank, features, device=DEVICE, dtype=dtype)
                x = torch.randn(tokens, features, device=DEVICE, dtype=dtype)
                s = torch.rand(slots, 1, 1, device=DEVICE)
                bias = torch.randn(features, device=DEVICE, dtype=dtype)
                low = products.shrink(x, m, segments, scaling=s, dropout=dropout)
                e1 = relative(kernels.shrink(x, m, segments, scaling=s, dropout=dropout), low)
                y = products.expand(low, m, segments, bias=bias, dropout=dropout)
                e2 = relative(kernels.expand(low, m, segments, bias=bias, dropout=dropout), y)
                t1 = torch.randn(slots, rank, features, device=DEVICE)
                t2 = t1.clone()
                products.accumulate(t1, low, x, segments, dropout=dropout)
                kernels.accumulate(t2, low, x, segments, dropout=dropout)
                e3 = relative(t2, t1)
                say(
                    f"products {dtype} rank {rank} features {features} dropout {dropout is not None}",
                    max(e1, e2, e3) < limit,
                    f"{e1:.1e} {e2:.1e} {e3:.1e}",
                )
    x[100] = float("nan")
    low = kernels.shrink(x, m, segments, scaling=s)
    t = torch.zeros(slots, rank, features, device=DEVICE)
    kernels.accumulate(t, low, x, segments)
    say("NaN stays in its slot", t[2].isnan().any().item() and t[[0, 1, 3, 4]].isfinite().all().item())


def check_cross_entropy():
    for dtype, limit in ((torch.float32, 1e-6), (torch.bfloat16, 1e-2)):
        for vocabulary in (1000, 32000, 128256):
            x = torch.randn(50, vocabulary, device=DEVICE, dtype=dtype) * 3
            targets = torch.randint(0, vocabulary, (50,), device=DEVICE, dtype=torch.int32)
            weights = torch.rand(50, device=DEVICE) * (torch.arange(50, device=DEVICE) % 3 > 0)
            other = x.clone()
            losses, x = cross_entropy(x, targets, weights)
            leaf = other.float().requires_grad_()
            plain = torch.nn.functional.cross_entropy(leaf, targets.long(), reduction="none")
            (plain * weights).sum().backward()
            e1, e2 = relative(losses, plain), relative(x, leaf.grad)
            say(f"cross entropy {dtype} {vocabulary}", e1 < 1e-5 and e2 < limit, f"{e1:.1e} {e2:.1e}")


def gradients(dtype, slots, *, graphs, held=True, dropout=0.0, splits=1, seed=0):
    import packing_cells.models as models
    import packing_cells.ours as ours

    original = models.compute_dtype
    models.compute_dtype = ours.compute_dtype = lambda device: dtype
    try:
        pack = build_pack(SMALL, slots=8, options=Options(device=DEVICE, cache_base=held))
    finally:
        models.compute_dtype = ours.compute_dtype = original
    pack._dropout = dropout > 0
    torch.manual_seed(5)
    for slot in range(8):
        state = {
            n: torch.randn(t.shape, generator=torch.Generator().manual_seed(slot + 7)) * 0.05
            for n, t in ours.fresh_adapter(pack.model, seed=slot).items()
        }
        pack.put(slot, SlotState(matrices=state), Settings(scaling=1.0 + slot / 4, dropout=dropout))
    pack.runner.graphs = pack.runner.graphs and graphs
    batches = {
        slot: Batch(
            trial_examples(LOGNORMAL, SMALL, steps=1, seed=slot), seed=slot, step=0, dropout=dropout > 0
        )
        for slot in slots
    }
    passes = 0
    while batches:
        train_pass(pack, batches, tokens=4096 // splits)
        batches = {slot: batch for slot, batch in batches.items() if not batch.done}
        passes += 1
    return pack.gradients.clone(), pack._losses.clone(), passes


def check_norms():
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    from loratory.objectives.packing.norm_kernel import add_rms_norm, rms_norm, rms_norm_beside

    for dtype, limit in ((torch.float32, 1e-6), (torch.bfloat16, 8e-3)):
        for width in (64, 256, 2048, 5120):
            norm = LlamaRMSNorm(width).to(DEVICE, dtype).requires_grad_(False)
            torch.nn.init.normal_(norm.weight, 1.0, 0.1)
            x, r, pull, push = (torch.randn(3, 70, width, device=DEVICE, dtype=dtype) for _ in range(4))
            x, r = x.requires_grad_(), r.requires_grad_()
            total = x + r
            y = norm(total)
            wanted = torch.autograd.grad((y * pull).sum() + (total * push).sum(), (x, r))
            got_y, got_total = add_rms_norm(x, r, norm.weight, norm.variance_epsilon)
            got = torch.autograd.grad((got_y * pull).sum() + (got_total * push).sum(), (x, r))
            errors = [relative(got_y, y), relative(got_total, total), *map(relative, got, wanted)]
            alone = rms_norm(x, norm.weight, norm.variance_epsilon)
            (d_alone,) = torch.autograd.grad((alone * pull).sum(), x)
            (d_wanted,) = torch.autograd.grad((norm(x) * pull).sum(), x)
            errors += [relative(alone, norm(x)), relative(d_alone, d_wanted)]
            y, beside = rms_norm_beside(x * 1, norm.weight, norm.variance_epsilon)
            (d_both,) = torch.autograd.grad((y * pull).sum() + (beside * push).sum(), x)
            errors.append(relative(d_both, d_wanted + push))
            say(f"norm {dtype} width {width}", max(errors) < limit, " ".join(f"{e:.0e}" for e in errors))


def check_fused():
    import packing_cells.ours as ours

    fused, _, _ = gradients(torch.float32, range(8), graphs=False)
    real, ours.fuse = ours.fuse, lambda model: False
    plain, _, _ = gradients(torch.float32, range(8), graphs=False)
    ours.fuse = real
    say(
        "fp32 fused layers against transformers' own",
        relative(fused, plain) < 1e-5,
        f"{relative(fused, plain):.1e}",
    )


def check_packs():
    torch.backends.cuda.matmul.allow_tf32 = False
    together, losses, n = gradients(torch.float32, range(8), graphs=False)
    for slot in (0, 5):
        alone, loss, _ = gradients(torch.float32, [slot], graphs=False)
        say(
            f"fp32 slot {slot}: pack of 8 in {n} passes against solo",
            relative(together[slot], alone[slot]) < 1e-5,
            f"{relative(together[slot], alone[slot]):.1e} loss {relative(losses[slot], loss[slot]):.1e}",
        )
        say("others got nothing", not alone[[k for k in range(8) if k != slot]].any().item())
    split, _, n2 = gradients(torch.float32, range(8), graphs=False, splits=8)
    say(f"fp32 {n2} passes against {n}", relative(split, together) < 1e-5, f"{relative(split, together):.1e}")
    with_dropout, _, _ = gradients(torch.float32, range(8), graphs=False, dropout=0.2)
    split, _, _ = gradients(torch.float32, [3], graphs=False, dropout=0.2, splits=8)
    say(
        "fp32 dropout, pack against solo in more passes",
        relative(split[3], with_dropout[3]) < 1e-5,
        f"{relative(split[3], with_dropout[3]):.1e}",
    )
    solo, _, _ = gradients(torch.bfloat16, [2], graphs=False)
    cut, _, _ = gradients(torch.bfloat16, [2], graphs=False, splits=8)
    eager, l1, _ = gradients(torch.bfloat16, range(8), graphs=False)
    graph, l2, _ = gradients(torch.bfloat16, range(8), graphs=True)
    unheld, _, _ = gradients(torch.bfloat16, range(8), graphs=True, held=False)
    # Every layer rounds its activations to 8 bits, and what it rounds away adds up over the layers: 6.8e-2.
    say("bf16 against fp32", relative(eager, together) < 0.1, f"{relative(eager, together):.1e}")
    say(
        "bf16 graph against eager",
        relative(graph, eager) < 1e-2,
        f"{relative(graph, eager):.1e}, losses {relative(l2, l1):.1e}",
    )
    say(
        "bf16 pack against solo no worse than solo against another cut",
        True,
        f"pack {relative(graph[2], solo[2]):.1e} cut {relative(cut[2], solo[2]):.1e}",
    )
    # The same numbers, but flash attention's backward adds up in any order: runs differ by up to 4e-4.
    say("base held or not", relative(unheld, graph) < 2e-3, f"{relative(unheld, graph):.1e}")


def times(name, slots, workload, **options):
    started = time.perf_counter()
    try:
        m = measure_ours(
            SHAPES[name], workload, slots=slots, steps=8, options=Options(device=DEVICE, **options)
        )
        gib = f"{m.peak_memory_bytes / 2**30:.1f} GiB of tensors, {m.device_memory_bytes / 2**30:.1f} in all"
        seconds = time.perf_counter() - started
        print(f"{name} K={slots} {workload.name} {options}: {m.tokens_per_second:,.0f} tokens/s, {gib}")
        print(f"    {m.details}, measured in {seconds:.0f} s", flush=True)
    except torch.OutOfMemoryError:
        print(f"{name} K={slots} {workload.name}: out of memory", flush=True)
    torch.cuda.empty_cache()


def profile(name, slots, workload):
    from packing_cells.ours import _Run

    pack = build_pack(SHAPES[name], slots=slots, options=Options(device=DEVICE))
    run = _Run(pack, SHAPES[name], workload, steps=10, seed=0, tokens_per_pass=16_384)
    for _ in range(4):
        run.advance()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as p:
        for _ in range(3):
            run.advance()
        torch.cuda.synchronize()
    rows = sorted(p.key_averages(), key=lambda e: -e.self_device_time_total)[:22]
    total = sum(e.self_device_time_total for e in p.key_averages())
    print(f"profile {name} K={slots} {workload.name}: {total / 3000:.1f} ms of kernels a pass")
    for e in rows:
        print(f"  {e.self_device_time_total / 3000:8.2f} ms {e.count // 3:6d}x {e.key[:90]}")


def deterministic():
    times("1b", 8, fixed(512))
    times("1b", 8, fixed(2048))
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False
    print("deterministic:")
    times("1b", 8, fixed(512))
    times("1b", 8, fixed(2048))


def main():
    wanted = sys.argv[1:] or ["checks", "times"]
    if "checks" in wanted:
        check_products()
        check_cross_entropy()
        check_norms()
        check_fused()
        check_packs()
    if "deterministic" in wanted:
        deterministic()
    if "times" in wanted:
        times("1b", 8, fixed(512))
        times("1b", 8, fixed(8192))
        times("7b", 8, fixed(512))
        times("7b", 8, LOGNORMAL)
        profile("1b", 8, fixed(8192))


if __name__ == "__main__":
    main()
