"""A probe that decodes given answers, to tell whether the logits are those of a full forward pass."""

from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Any

import torch

from loratory.objectives.packing.compatibility import reason
from loratory.objectives.packing.decoding.apart import ApartDecoder, Generation
from loratory.objectives.packing.decoding.cache import rows_that_fit
from loratory.objectives.packing.decoding.decoder import BASE, Decoder, Prompt, cache_positions
from loratory.objectives.packing.decoding.rows import GRANULE
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.packing.probe import ProbeSequence, Reference
from loratory.objectives.packing.runner import PassRunner
from loratory.objectives.packing.stack import AdapterStack

_MOST_CACHE_BYTES = 2**30


class _Forcing:
    """Makes given tokens the best at each step, and keeps the logits that they replace.

    Attributes:
        seen: fp32 [P, V] per step, the logits of P prompts.
    """

    def __init__(self, sequences: Sequence[ProbeSequence]) -> None:
        """Take the answers of the prompts in the first rows, in their order."""
        self._answers = torch.tensor([sequence.answer for sequence in sequences])
        self.seen: list[torch.Tensor] = []

    def __call__(self, logits: torch.Tensor) -> torch.Tensor:
        """Replace the logits [at least P, V] of a step."""
        rows, step = len(self._answers), len(self.seen)
        self.seen.append(logits[:rows].float())
        forced = torch.zeros_like(logits)
        if step < self._answers.shape[1]:
            chosen = self._answers[:, step, None].to(logits.device)
            forced[:rows].scatter_(1, chosen, 1.0)
        return forced

    def hook(self, _: Any, __: Any, output: Any) -> Any:
        """Replace the logits of a model's last tokens [B, L, V], as its forward hook."""
        output.logits = self(output.logits[:, -1]).unsqueeze(1)
        return output


class DecodingProbe:
    """Compares the logits at each place of decoded answers with those of the untouched base."""

    def __init__(self, reference: Reference, packed: PackedModel, *, padding_id: int) -> None:
        """Allocate an empty adapter, since the bare base is probed.

        Args:
            reference: the sequences and the expected logits.
            packed: the base.
            padding_id: the token of padding.
        """
        self._reference, self._packed, self._padding_id = reference, packed, padding_id
        self._stack = AdapterStack(
            packed.layers, slots=1, rank=8, device=packed.device, compute_dtype=packed.compute_dtype
        )

    @torch.no_grad()
    def why_not_cached(self) -> str | None:
        """Return what is wrong with decoding through our cache; None where it is right."""
        try:
            logits = self._through_cache()
        except Exception as error:
            return reason(error)
        return self._reference.why_wrong(logits, self._packed.compute_dtype)

    @torch.no_grad()
    def why_not_generated(self, generation: Generation) -> str | None:
        """Return what is wrong with transformers' `generate`; None where it is right."""
        try:
            logits = self._by_generate(generation)
        except Exception as error:
            return reason(error)
        return self._reference.why_wrong(logits, self._packed.compute_dtype)

    def _through_cache(self) -> list[torch.Tensor]:
        sequences = self._that_fit(self._reference.sequences)
        longest, new_tokens = len(sequences[0].prompt), len(sequences[0].answer)
        decoder = Decoder(
            self._packed,
            PassRunner(self._packed.device, graphs=False),
            self._stack,
            end_ids=(),
            padding_id=self._padding_id,
            max_new_tokens=new_tokens,
            longest_prompt=longest,
            rows=GRANULE,
        )
        forcing = _Forcing(sequences)
        with self._packed.intercept_logits(forcing):
            _run(decoder, sequences)
        return [*torch.stack(forcing.seen, dim=1)]

    def _that_fit(self, sequences: Sequence[ProbeSequence]) -> Sequence[ProbeSequence]:
        """Leave out the sequence that exceeds a window where the cache would be large for it."""
        longest = sequences[0]
        positions = cache_positions(longest_prompt=len(longest.prompt), max_new_tokens=len(longest.answer))
        dtype, config = self._packed.compute_dtype, self._packed.model.config
        rows = rows_that_fit(config, positions=positions, dtype=dtype, bytes=_MOST_CACHE_BYTES, step=1)
        exceeds = len(longest.prompt) > len(sequences[-1].prompt) + GRANULE
        return sequences[1:] if exceeds and rows < GRANULE else sequences

    def _by_generate(self, generation: Generation) -> list[torch.Tensor]:
        sequences, batches = self._reference.sequences, [self._reference.sequences]
        if generation is not Generation.PADDED:
            batches = [[*batch] for _, batch in groupby(sequences, lambda sequence: len(sequence.prompt))]
        return [logits for batch in batches for logits in self._batch(batch, generation)]

    def _batch(self, sequences: Sequence[ProbeSequence], generation: Generation) -> list[torch.Tensor]:
        decoder = ApartDecoder(
            self._packed,
            self._stack,
            end_ids=(),
            padding_id=self._padding_id,
            max_new_tokens=len(sequences[0].answer),
            rows=len(sequences),
            generation=generation,
        )
        forcing = _Forcing(sequences)
        hook = self._packed.model.register_forward_hook(forcing.hook)
        try:
            _run(decoder, sequences)
        finally:
            hook.remove()
        return [*torch.stack(forcing.seen, dim=1)]


def _run(decoder: Decoder | ApartDecoder, sequences: Sequence[ProbeSequence]) -> None:
    """Decode the answers of some prompts.

    Raises:
        RuntimeError: an answer is not that of its prompt.
    """
    decoder.add(Prompt(slot=BASE, key=place, ids=s.prompt) for place, s in enumerate(sequences))
    answers: dict[Hashable, tuple[int, ...]] = {}
    while decoder.busy:
        answers |= {answer.key: answer.ids for answer in decoder.advance()}
    if answers != {place: sequence.answer for place, sequence in enumerate(sequences)}:
        raise RuntimeError("answers are not those of their prompts")
