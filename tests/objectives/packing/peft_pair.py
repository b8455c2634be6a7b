"""A pack of three adapters, and the same adapters in PEFT on another copy of the base, to compare them."""

import random

import torch
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict

from loratory.objectives.packing.decoding.decoder import BASE, Decoder, Prompt
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.stack import AdapterStack

RANKS, ALPHAS = (3, 16, 8), (6, 16, 4)
ENDS = (5, 17, 23, 42, 77, 101, 130, 155)
LONGEST, NEW_TOKENS, NEAR = 60, 21, 1e-4


def draw_prompts(count, slot, *, seed=0, longest=LONGEST, vocabulary=160):
    draw = random.Random(f"{seed} {slot}")
    lengths = [1, longest, *(draw.randint(1, longest) for _ in range(count))][:count]
    return [
        Prompt(slot=slot, key=(slot, index), ids=tuple(draw.choices(range(vocabulary), k=length)))
        for index, length in enumerate(lengths)
    ]


def finish(decoder):
    """Every answer, by key."""
    answers = {}
    for _ in range(500):
        for answer in decoder.advance():
            assert answer.key not in answers
            assert answer.slot == answer.key[0]
            answers[answer.key] = answer.ids
        if not decoder.busy:
            return answers
    raise AssertionError("decoding did not end")


class Pair:
    """Both sides; bases of one kind, loaded apart."""

    def __init__(self, packed, reference, *, ranks=RANKS, alphas=ALPHAS):
        torch.manual_seed(1)
        self.packed = packed
        self.stack = AdapterStack(
            packed.layers,
            slots=len(ranks),
            rank=max(ranks),
            device=packed.device,
            compute_dtype=packed.compute_dtype,
        )
        self.reference = self._adapted(reference, ranks, alphas)

    def _adapted(self, model, ranks, alphas):
        for slot, (rank, alpha) in enumerate(zip(ranks, alphas, strict=True)):
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

    def decoder(
        self, *, rows=16, max_new_tokens=NEW_TOKENS, ends=ENDS, longest=LONGEST, graphs=False, **sizes
    ):
        return Decoder(
            self.packed,
            PassRunner(self.packed.device, graphs=graphs),
            self.stack,
            end_ids=ends,
            padding_id=0,
            max_new_tokens=max_new_tokens,
            longest_prompt=longest,
            rows=rows,
            **sizes,
        )

    def answers(self, prompts, **options):
        decoder = self.decoder(**options)
        decoder.add(prompts)
        return finish(decoder)

    @torch.no_grad()
    def ask(self, prompt, call):
        """Call the reference with the prompt's adapter."""
        if prompt.slot == BASE:
            with self.reference.disable_adapter():
                return call(self.reference)
        self.reference.set_adapter(f"slot{prompt.slot}")
        return call(self.reference)

    def generate(self, prompt, *, max_new_tokens=NEW_TOKENS, ends=ENDS):
        """New tokens of `generate`, and by how much each was the best."""
        ids = torch.tensor([prompt.ids], device=self.packed.device)
        options = {
            "input_ids": ids,
            "attention_mask": torch.ones_like(ids),
            "do_sample": False,
            "max_new_tokens": max_new_tokens,
            "eos_token_id": list(ends) or None,
            "pad_token_id": 0,
            "output_logits": True,
            "return_dict_in_generate": True,
        }
        made = self.ask(prompt, lambda model: model.generate(**options))
        best = torch.stack([logits[0].topk(2).values for logits in made.logits])
        return made.sequences[0, ids.shape[1] :].tolist(), (best[:, 0] - best[:, 1]).tolist()

    def differences(self, answers, prompts, *, near=NEAR, ends=ENDS, **options):
        """Prompts answered otherwise than by `generate`, and comparisons that a near tie cut short."""
        wrong, cut = [], 0
        for prompt in prompts:
            expected, margins = self.generate(prompt, ends=ends, **options)
            got = list(answers[prompt.key])
            if expected[-1] in ends:
                expected, got = [*expected[:-1], "end"], [*got, "end"]
            tie = next((place for place, margin in enumerate(margins) if margin < near), None)
            if got[:tie] != expected[:tie]:
                wrong.append(prompt)
            cut += tie is not None
        return wrong, cut

    def near_ties(self, answers, prompts, **options):
        """How many comparisons a near tie cut short, where all answers are those of `generate`."""
        wrong, cut = self.differences(answers, prompts, **options)
        assert not wrong, wrong
        return cut
