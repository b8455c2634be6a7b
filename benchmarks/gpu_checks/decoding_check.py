"""Checks of packed decoding on a GPU: kernels against plain PyTorch, answers against `generate`, speed.

PYTHONPATH=benchmarks python benchmarks/gpu_checks/decoding_check.py [kernels] [answers] [times]
"""

import random
import sys
import tempfile
import time

import torch
from packing_cells.measured import Options
from packing_cells.ours import fresh_adapter, packed_model
from packing_cells.shapes import SHAPES, ModelShape
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict
from transformers import AutoModelForCausalLM, BitsAndBytesConfig, LlamaForCausalLM

from loratory.objectives.packing.cached_attention import attend_cached
from loratory.objectives.packing.decoding import BASE, Decoder, Prompt
from loratory.objectives.packing.decoding_steps import STEPS
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.stack import AdapterStack
from loratory.objectives.qlora.base import keep_weights_in_place

DEVICE = torch.device("cuda")
SMALL = ModelShape(
    name="small",
    layers=4,
    hidden=256,
    intermediate=688,
    heads=8,
    key_value_heads=4,
    vocabulary=1000,
    positions=512,
)
RANKS, ALPHAS = (3, 16, 40), (6, 16, 20)
ENDS = tuple(range(7, 1000, 41))
NEW_TOKENS, LONGEST = 37, 150


def say(name, ok, detail=""):
    print("PASS" if ok else "FAIL", name, detail, flush=True)


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
    asked = {"scale": width**-0.5, "window": window}
    got = cached_attention_kernel.attend(query, key, value, keys, values, lengths, **asked)
    expected = attend_cached(query.double(), *whole, lengths, **asked)
    for kept, own in zip((keys, values), whole, strict=True):
        if not torch.equal(kept.double().nan_to_num(9.0), own.nan_to_num(9.0)):
            return float("inf")
    return (got.double() - expected).abs().max().nan_to_num(float("inf")).item()


# --- answers


class Small:
    """A small random model in nf4: packed, and with PEFT's adapters."""

    def __init__(self, dtype):
        self.folder = tempfile.TemporaryDirectory()
        torch.manual_seed(0)
        config = SMALL.configuration()
        config.initializer_range = 0.08
        LlamaForCausalLM(config).save_pretrained(self.folder.name)
        model = self.load(dtype)
        head = model.get_output_embeddings()
        layers = [n for n, m in model.named_modules() if isinstance(m, torch.nn.Linear) and m is not head]
        self.packed = PackedModel(model, layers, device=DEVICE, compute_dtype=dtype)
        self.stack = AdapterStack(
            self.packed.layers, slots=len(RANKS), rank=max(RANKS), device=DEVICE, compute_dtype=dtype
        )
        self.reference = self.adapted(self.load(dtype))

    def load(self, dtype):
        """In nf4, frozen."""
        quantization = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=dtype,
        )
        model = AutoModelForCausalLM.from_pretrained(
            self.folder.name, quantization_config=quantization, dtype=dtype, device_map={"": DEVICE}
        )
        keep_weights_in_place(model)
        return model.requires_grad_(False).eval()

    def adapted(self, model):
        """PEFT's adapters, which go into the stack too."""
        torch.manual_seed(1)
        for slot, (rank, alpha) in enumerate(zip(RANKS, ALPHAS, strict=True)):
            config = LoraConfig(
                task_type="CAUSAL_LM",
                r=rank,
                lora_alpha=alpha,
                target_modules="all-linear",
                init_lora_weights=False,
            )
            # Not digits alone: PEFT would take the 0 of "layers.0" for the name of another adapter.
            name = f"slot{slot}"
            if slot:
                model.add_adapter(name, config)
            else:
                model = get_peft_model(model, config, adapter_name=name)
            state = get_peft_model_state_dict(model, adapter_name=name)
            assert len(state) == 2 * len(self.stack.layers)
            self.stack.put(slot, {n: t.float().cpu() for n, t in state.items()}, scaling=alpha / rank)
        return model.eval()

    def answers(self, prompts, *, graphs, rows):
        """Every answer, by key."""
        decoder = Decoder(
            self.packed,
            PassRunner(DEVICE, graphs=graphs),
            self.stack,
            end_ids=ENDS,
            padding_id=1,
            max_new_tokens=NEW_TOKENS,
            longest_prompt=LONGEST,
            rows=rows,
        )
        decoder.add(prompts)
        answers = {}
        while decoder.busy:
            answers |= {answer.key: answer.ids for answer in decoder.advance()}
        captured = [chunk.graph is not None for chunk in decoder._steps._chunks.values()]
        if all(captured) != graphs or any(captured) != graphs:
            say(f"graphs of decoding {'there' if graphs else 'not there'}", False, str(captured))
        if graphs and decoder._prefill._runner._eager:
            say("graphs of prefill there", False, str(decoder._prefill._runner._eager))
        return answers

    @torch.no_grad()
    def ask(self, prompt, call):
        """Call the reference with the prompt's adapter."""
        if prompt.slot == BASE:
            with self.reference.disable_adapter():
                return call(self.reference)
        self.reference.set_adapter(f"slot{prompt.slot}")
        return call(self.reference)

    def differences(self, answers, prompts, *, near):
        """Answers unlike those of `generate`, and comparisons that a near tie cut short."""
        wrong = cut = 0
        for prompt in prompts:
            ids = torch.tensor([prompt.ids], device=DEVICE)
            options = {
                "input_ids": ids,
                "attention_mask": torch.ones_like(ids),
                "do_sample": False,
                "max_new_tokens": NEW_TOKENS,
                "eos_token_id": list(ENDS),
                "pad_token_id": 1,
                "output_logits": True,
                "return_dict_in_generate": True,
            }
            made = self.ask(prompt, lambda model, options=options: model.generate(**options))
            expected = made.sequences[0, ids.shape[1] :].tolist()
            best = torch.stack([logits[0].float().topk(2).values for logits in made.logits])
            margins = (best[:, 0] - best[:, 1]).tolist()
            got = list(answers[prompt.key])
            if expected[-1] in ENDS:
                expected[-1], got = "end", [*got, "end"]
            tie = next((place for place, margin in enumerate(margins) if margin < near), None)
            wrong += got[:tie] != expected[:tie]
            cut += tie is not None
        return wrong, cut

    def worst_choice(self, answers, prompts):
        """How far a chosen token's logit ever is below the best one, in standard deviations of the logits."""
        worst = 0.0
        for prompt in prompts:
            chosen = answers[prompt.key]
            ids = torch.tensor([[*prompt.ids, *chosen]], device=DEVICE)
            logits = self.ask(prompt, lambda model, ids=ids: model(input_ids=ids).logits[0].float())
            logits = logits[len(prompt.ids) - 1 : -1]
            if len(chosen):
                own = logits.gather(1, torch.tensor(chosen, device=DEVICE).unsqueeze(1)).squeeze(1)
                worst = max(worst, ((logits.amax(1) - own) / logits.std(1)).max().item())
        return worst


def small_prompts():
    draw = random.Random(0)
    prompts = []
    for slot in (BASE, 0, 1, 2):
        for index in range(24):
            length = (1, LONGEST)[index] if index < 2 else draw.randint(1, LONGEST)
            ids = tuple(draw.choices(range(2, SMALL.vocabulary), k=length))
            prompts.append(Prompt(slot=slot, key=(slot, index), ids=ids))
    return prompts


def check_answers():
    torch.backends.cuda.matmul.allow_tf32 = False
    prompts = small_prompts()
    small = Small(torch.float32)
    for graphs in (False, True):
        for rows in (32, 112):
            answers = small.answers(prompts, graphs=graphs, rows=rows)
            wrong, cut = small.differences(answers, prompts, near=1e-3)
            say(
                f"fp32 answers, graphs {graphs}, {rows} rows",
                wrong == 0 and cut <= len(prompts) // 10,
                f"{wrong} of {len(prompts)} differ, {cut} near ties, "
                f"{len({len(a) for a in answers.values()})} lengths",
            )
    for dtype, limit in ((torch.bfloat16, 0.2), (torch.float16, 0.03)):
        small = Small(dtype)
        eager = small.answers(prompts, graphs=False, rows=64)
        graph = small.answers(prompts, graphs=True, rows=64)
        again = small.answers(prompts, graphs=True, rows=64)
        for name, answers in (("eager", eager), ("graphs", graph)):
            worst = small.worst_choice(answers, prompts)
            say(
                f"{dtype} answers, {name}: best tokens",
                worst < limit,
                f"at most {worst:.3f} sd below the best",
            )
        same = sum(eager[key] == graph[key] for key in eager)
        say(f"{dtype} answers again are the same", again == graph, f"eager as graphs: {same} of {len(eager)}")


# --- times


def timed_decoder(packed, stack, *, graphs):
    return Decoder(
        packed,
        PassRunner(DEVICE, graphs=graphs),
        stack,
        end_ids=(),
        padding_id=1,
        max_new_tokens=64,
        longest_prompt=128,
        rows=512,
    )


def big_prompts(seed):
    draw = random.Random(seed)
    vocabulary = SHAPES["1b"].vocabulary
    return [
        Prompt(slot=slot, key=(slot, index), ids=tuple(draw.choices(range(2, vocabulary), k=128)))
        for slot in range(8)
        for index in range(64)
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
    packed = packed_model(SHAPES["1b"], options=Options(device=DEVICE))
    stack = AdapterStack(packed.layers, slots=8, rank=16, device=DEVICE, compute_dtype=torch.bfloat16)
    for slot in range(8):
        state = fresh_adapter(packed, seed=slot)
        draw = torch.Generator().manual_seed(slot)
        for name, tensor in state.items():
            if "lora_B" in name:
                tensor.normal_(0.0, 0.02, generator=draw)
        stack.put(slot, state, scaling=2.0)
    for held in (True, False):
        packed.hold_base() if held else packed.release_base()
        for graphs in (True, False):
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            decoder = timed_decoder(packed, stack, graphs=graphs)
            warm, *_ = decode_all(decoder, big_prompts(1))
            seconds, first, rest, calls = decode_all(decoder, big_prompts(2))
            tokens = 8 * 64 * 64
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
