"""The same numbers by transformers and PEFT alone, one text at a time, on the base in nf4."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from loratory.objectives.data.prepared import Example
from loratory.objectives.events import AdapterFiles
from loratory.objectives.records import CurvePoint
from model_matrix.bases import END, PADDING
from model_matrix.study import NEW_TOKENS

NEAR_TIE = 1e-4
"""Answers may differ from the first token on of which the reference's two best logits differ by less."""


def load_base(folder: Path, quantization: str = "nf4") -> Any:
    """Load a base in fp32, in nf4 with double quantisation or not quantised, as users of an adapter do."""
    import bitsandbytes
    from transformers import AutoModelForCausalLM, BitsAndBytesConfig

    nf4 = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.float32,
    )
    options = {"quantization_config": nf4} if quantization == "nf4" else {}
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **options)
    for module in model.modules():
        if isinstance(module, bitsandbytes.nn.Linear4bit):
            # Otherwise CPUs with AVX512-BF16 compute in bf16 after the first pass.
            module.support_avx512bf16_for_cpu = False
    return model.eval()


class PlainAdapter:
    """An adapter on its base, as PEFT loads it."""

    def __init__(self, base: Any, files: AdapterFiles, folder: Path, *, trains: bool = False) -> None:
        """Write the adapter's files to a folder and load them."""
        from peft import PeftModel

        folder.mkdir(parents=True, exist_ok=True)
        for name, content in files.items():
            (folder / name).write_bytes(content)
        self._model = PeftModel.from_pretrained(base, str(folder), is_trainable=trains).eval()

    def loss(self, example: Example) -> torch.Tensor:
        """Compute the mean loss of an example's answer, a scalar."""
        ids = torch.tensor([[*example.prompt_ids, *example.answer_ids]])
        logits = self._model(input_ids=ids[:, :-1], use_cache=False).logits[0]
        return torch.nn.functional.cross_entropy(
            logits[len(example.prompt_ids) - 1 :].float(), torch.tensor(example.answer_ids)
        )

    @torch.no_grad()
    def losses(self, examples: Sequence[Example]) -> list[float]:
        """Compute the loss of each example."""
        return [self.loss(example).item() for example in examples]

    @torch.no_grad()
    def answer(self, example: Example, *, use_cache: bool = True) -> tuple[list[int], list[float]]:
        """Generate the greedy answer to a prompt, and by how much each of its tokens was the best."""
        ids = torch.tensor([example.prompt_ids])
        made = self._model.generate(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            max_new_tokens=NEW_TOKENS,
            do_sample=False,
            use_cache=use_cache,
            eos_token_id=END,
            pad_token_id=PADDING,
            forced_eos_token_id=None,  # settings of BART and others, which are not greedy
            forced_bos_token_id=None,
            output_logits=True,
            return_dict_in_generate=True,
        )
        best = torch.stack([logits[0].float().topk(2).values for logits in made.logits])
        return made.sequences[0, ids.shape[1] :].tolist(), (best[:, 0] - best[:, 1]).tolist()

    def train(self, examples: Sequence[Example], points: Sequence[CurvePoint]) -> list[tuple[float, float]]:
        """Make the updates of a trial whose batches are all examples, at the learning rates of its curve.

        Returns:
            Per update, the loss and the norm of its gradient before clipping.
        """
        tensors = [tensor for tensor in self._model.parameters() if tensor.requires_grad]
        optimizer = torch.optim.AdamW(tensors, weight_decay=0.0)
        tokens = sum(len(example.answer_ids) for example in examples)
        results = []
        for point in points:
            total = 0.0
            for example in examples:
                loss = self.loss(example) * len(example.answer_ids) / tokens
                loss.backward()  # type: ignore[no-untyped-call]
                total += loss.item()
            norm = torch.nn.utils.clip_grad_norm_(tensors, 1.0)
            optimizer.param_groups[0]["lr"] = point.learning_rate
            optimizer.step()
            optimizer.zero_grad()
            results.append((total, norm.item()))
        return results
