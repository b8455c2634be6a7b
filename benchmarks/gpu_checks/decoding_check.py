"""Checks of packed decoding on a GPU: kernels against plain PyTorch, answers against `generate`, speed.

PYTHONPATH=benchmarks python benchmarks/gpu_checks/decoding_check.py [kernels] [answers] [times]
"""

import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import torch
from checking import DEVICE, SMALL, say
from packing_cells.decoding import DecodeLoad, prompt_ids
from packing_cells.measured import Options
from packing_cells.ours import packed_model
from packing_cells.ours_decoding import _random_stack
from packing_cells.shapes import SHAPES
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM

from loratory.objectives.packing.attention import AttentionCall
from loratory.objectives.packing.cached_attention import attend_cached
from loratory.objectives.packing.decoding import BASE, Decoder, Prompt
from loratory.objectives.packing.decoding_steps import STEPS
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.qlora.base import keep_weights_in_place

# Answers are compared as the tests compare them on a CPU.
sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "objectives" / "packing"))
from peft_pair import Pair, draw_prompts, finish

RANKS, ALPHAS = (3, 16, 40), (6, 16, 20)
ENDS = tuple(range(7, 1000, 41))
NEW_TOKENS, LONGEST = 37, 150


# --- kernels


def check_kernels():
    from loratory.objectives.packing import cached_attention_kernel

    limits = {torch.float32: 2e-6, torch.float16: 2e-3, torch.bfloat16: 1.6e-2}
    for dtype, limit in limits.items():
        for group in (1, 4, 8):
            for width in (64, 96, 128, 256):
                errors = [attention_error(dtype, group, width, window) for window in (None, 1, 17, 100, 4096)]
                worst = max(errors)
                say(f"attention {dtype} group {group} width {width}", worst < limit, f"{worst:.1e}")
    keys, values = (torch.zeros(5, 32, 2, 96, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    key, value = (torch.randn(40, 2, 96, device=DEVICE, dtype=torch.bfloat16) for _ in range(2))
    places = torch.randperm(160, device=DEVICE)[:40]
    cached_attention_kernel.store(keys, values, key, value, places)
    same = torch.equal(keys.flatten(0, 1)[places], key) and torch.equal(values.flatten(0, 1)[places], value)
    say("store", same and keys.flatten(0, 1).any(-1).any(-1).sum().item() == 40)


def attention_error(dtype, group, width, window):
    """Largest error of unit-variance values; leftovers in the cache are NaN."""
    from loratory.objectives.packing import cached_attention_kernel

    torch.manual_seed(0)
    rows, heads, positions = 37, 4, 640
    lengths = torch.randint(0, positions, (rows,), device=DEVICE, dtype=torch.int32)
    lengths[:4] = torch.tensor([0, 63, 64, positions - 1])
    keys, values = (torch.randn(rows + 1, positions, heads, width, device=DEVICE).to(dtype) for _ in range(2))
    query = torch.randn(rows, heads * group, width, device=DEVICE).to(dtype)
    key, value = (torch.randn(rows, heads, width, device=DEVICE).to(dtype) for _ in range(2))
    later = torch.arange(positions, device=DEVICE) >= lengths[:, None]
    for kept in (keys, values):
        kept[:rows][later] = float("nan")
    whole = [kept.double() for kept in (keys, values)]
    for kept, new in zip(whole, (key, value), strict=True):
        kept[torch.arange(rows, device=DEVICE), lengths.long()] = new.double()
    call = AttentionCall(query=query, key=key, value=value, scale=width**-0.5, window=window, layer=0)
    got = cached_attention_kernel.attend(call, keys, values, lengths)
    expected = attend_cached(replace(call, query=query.double()), *whole, lengths)
    for kept, own in zip((keys, values), whole, strict=True):
        if not torch.equal(kept.double().nan_to_num(9.0), own.nan_to_num(9.0)):
            return float("inf")
    return (got.double() - expected).abs().max().nan_to_num(float("inf")).item()


# --- answers


def small_pair(dtype):
    """A small random model in nf4: packed, and with PEFT's adapters."""
    torch.manual_seed(0)
    config = SMALL.configuration()
    config.initializer_range = 0.08
    with tempfile.TemporaryDirectory() as folder:
        LlamaForCausalLM(config).save_pretrained(folder)
        model, reference = load(folder, dtype), load(folder, dtype)
    head = model.get_output_embeddings()
    layers = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
    packed = PackedModel(model, layers, device=DEVICE, compute_dtype=dtype)
    return Pair(packed, reference, ranks=RANKS, alphas=ALPHAS)


def load(folder, dtype):
    """In nf4, frozen."""
    quantization = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=dtype,
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder, quantization_config=quantization, dtype=dtype, device_map={"": DEVICE}
    )
    keep_weights_in_place(model)
    return model.requires_grad_(False).eval()


def answers_of(pair, prompts, *, graphs, rows):
    """Every answer, by key; whether graphs were there as asked for is said too."""
    decoder = pair.decoder(graphs=graphs, rows=rows, ends=ENDS, max_new_tokens=NEW_TOKENS, longest=LONGEST)
    decoder.add(prompts)
    answers = finish(decoder)
    captured = [chunk.graph is not None for chunk in decoder._steps._chunks.values()]
    if all(captured) != graphs or any(captured) != graphs:
        say(f"graphs of decoding {'there' if graphs else 'not there'}", False, str(captured))
    if graphs and decoder._prefill._runner._eager:
        say("graphs of prefill there", False, str(decoder._prefill._runner._eager))
    return answers


def worst_choice(pair, answers, prompts):
    """How far a chosen token's logit ever is below the best one, in standard deviations of the logits."""
    worst = 0.0
    for prompt in prompts:
        chosen = answers[prompt.key]
        ids = torch.tensor([[*prompt.ids, *chosen]], device=DEVICE)
        logits = pair.ask(prompt, lambda model, ids=ids: model(input_ids=ids).logits[0].float())
        logits = logits[len(prompt.ids) - 1 : -1]
        if len(chosen):
            own = logits.gather(1, torch.tensor(chosen, device=DEVICE).unsqueeze(1)).squeeze(1)
            worst = max(worst, ((logits.amax(1) - own) / logits.std(1)).max().item())
    return worst


def check_answers():
    torch.backends.cuda.matmul.allow_tf32 = False
    draw = {"longest": LONGEST, "vocabulary": SMALL.vocabulary}
    prompts = [prompt for slot in (BASE, 0, 1, 2) for prompt in draw_prompts(24, slot, **draw)]
    check_fp32_answers(prompts)
    for dtype, limit in ((torch.bfloat16, 0.2), (torch.float16, 0.03)):
        check_half_answers(prompts, dtype, limit)


def check_fp32_answers(prompts):
    pair, kind = small_pair(torch.float32), {"ends": ENDS, "max_new_tokens": NEW_TOKENS}
    for graphs in (False, True):
        for rows in (32, 112):
            answers = answers_of(pair, prompts, graphs=graphs, rows=rows)
            wrong, cut = pair.differences(answers, prompts, near=1e-3, **kind)
            say(
                f"fp32 answers, graphs {graphs}, {rows} rows",
                not wrong and cut <= len(prompts) // 10,
                f"{len(wrong)} of {len(prompts)} differ, {cut} near ties, "
                f"{len({len(a) for a in answers.values()})} lengths",
            )


def check_half_answers(prompts, dtype, limit):
    """Half precision has too many near ties for a comparison with `generate`: tokens must be good ones."""
    pair = small_pair(dtype)
    eager = answers_of(pair, prompts, graphs=False, rows=64)
    graph = answers_of(pair, prompts, graphs=True, rows=64)
    again = answers_of(pair, prompts, graphs=True, rows=64)
    for name, answers in (("eager", eager), ("graphs", graph)):
        worst = worst_choice(pair, answers, prompts)
        say(f"{dtype} answers, {name}: best tokens", worst < limit, f"at most {worst:.3f} sd below the best")
    same = sum(eager[key] == graph[key] for key in eager)
    say(f"{dtype} answers again are the same", again == graph, f"eager as graphs: {same} of {len(eager)}")


# --- times


SHAPE, LOAD = SHAPES["1b"], DecodeLoad()


def timed_decoder(packed, stack, *, graphs):
    return Decoder(
        packed,
        PassRunner(DEVICE, graphs=graphs),
        stack,
        end_ids=(),
        padding_id=1,
        max_new_tokens=LOAD.new_tokens,
        longest_prompt=LOAD.prompt_tokens,
        rows=512,
    )


def big_prompts(seed):
    """Every adapter has prompts of its own."""
    return [
        Prompt(slot=slot, key=(slot, index), ids=tuple(ids))
        for slot in range(LOAD.adapters)
        for index, ids in enumerate(prompt_ids(LOAD, SHAPE, seed=100 * seed + slot).tolist())
    ]


def decode_all(decoder, prompts):
    decoder.add(prompts)
    torch.cuda.synchronize()
    started, marks = time.perf_counter(), []
    while decoder.busy:
        decoder.advance()
        marks.append(time.perf_counter())
    return marks[-1] - started, marks[0] - started, marks[-1] - marks[0], len(marks)


def times():
    packed = packed_model(SHAPE, options=Options(device=DEVICE))
    stack = _random_stack(packed, adapters=LOAD.adapters)
    for held in (True, False):
        packed.hold_base() if held else packed.release_base()
        for graphs in (True, False):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            decoder = timed_decoder(packed, stack, graphs=graphs)
            warm, *_ = decode_all(decoder, big_prompts(1))
            seconds, first, rest, calls = decode_all(decoder, big_prompts(2))
            tokens = LOAD.adapters * LOAD.prompts * LOAD.new_tokens
            print(
                f"1b, 8 adapters x 64 prompts of 128 + 64 tokens, base held {held}, graphs {graphs}: "
                f"{tokens / seconds:,.0f} tokens/s, {seconds:.2f} s, "
                f"of it prefill and first chunk {first:.2f} s, "
                f"then {1000 * rest / max(1, (calls - 1) * STEPS):.2f} ms a step of 512 rows; "
                f"first time {warm:.1f} s; peak {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB",
                flush=True,
            )
            if held:
                profile(decoder, graphs)
            del decoder


def profile(decoder, graphs):
    decoder.add(big_prompts(3))
    decoder.advance()
    decoder.advance()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profiled:
        decoder.advance()
        torch.cuda.synchronize()
    rows = sorted(profiled.key_averages(), key=lambda e: -e.self_device_time_total)
    total = sum(e.self_device_time_total for e in rows)
    print(f"profile of a chunk of {STEPS} steps, graphs {graphs}: {total / 1000:.1f} ms of kernels")
    for e in rows[:12]:
        print(f"  {e.self_device_time_total / 1000:8.2f} ms {e.count:6d}x {e.key[:100]}")
    while decoder.busy:
        decoder.advance()


def main():
    wanted = sys.argv[1:] or ["kernels", "answers", "times"]
    print(torch.cuda.get_device_name(), torch.__version__, flush=True)
    for name, check in (("kernels", check_kernels), ("answers", check_answers), ("times", times)):
        if name in wanted:
            started = time.perf_counter()
            check()
            print(f"{name}: {time.perf_counter() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
