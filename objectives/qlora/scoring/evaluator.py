"""The evaluation queue: copies of adapters that are scored together while their trials train on."""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from loratory.objectives.data.prepared import Example
from loratory.objectives.data.special_tokens import AnswerReader
from loratory.objectives.futures import completed
from loratory.objectives.metrics.jobs import TextJobs
from loratory.objectives.metrics.scoring import TextScores
from loratory.objectives.packing.batch import example_piece
from loratory.objectives.packing.decoding.apart import ApartDecoder
from loratory.objectives.packing.decoding.decoder import BASE, Decoder, Prompt
from loratory.objectives.packing.passes import PassInputs
from loratory.objectives.packing.stack import AdapterStack, AdapterState
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.scoring.evaluation import Evaluation, score_answers, text_job
from loratory.objectives.qlora.slots import Slots
from loratory.spaces.study import StudySpec


class Result(NamedTuple):
    """Key of a scored adapter, and a function that returns its evaluation or raises its error."""

    key: Hashable
    evaluation: Callable[[], Evaluation]


_Texts = Future[TextScores] | Future[None]
"""Future scores of answers; None if nothing is decoded."""


class _Place(NamedTuple):
    """Position of an example in a request."""

    key: Hashable
    example: int


@dataclass(kw_only=True)
class _Request:
    key: Hashable
    row: int
    examples: Sequence[Example]
    loss_sums: NDArray[np.float64]
    answers: dict[int, str] = field(default_factory=dict)
    losses_left: int

    @property
    def computed(self) -> bool:
        """True if the device has computed all losses and answers."""
        return not self.losses_left and len(self.answers) == len(self.examples)

    @property
    def in_order(self) -> list[str]:
        """Answers in the order of the examples."""
        return [self.answers[index] for index in range(len(self.examples))]


class Evaluator:
    """Scores several adapters on examples at once.

    Each adapter is a copy in a separate stack, so its trial can continue or end meanwhile.

    Attributes:
        decoded_tokens: tokens of all answers so far.
    """

    def __init__(
        self,
        slots: Slots,
        base: Base,
        study: StudySpec,
        *,
        decoder: Decoder | ApartDecoder | None,
        stack: AdapterStack,
        labels: Sequence[str],
        jobs: TextJobs,
        kept_ids: Sequence[int] = (),
    ) -> None:
        """Start without requests.

        Args:
            slots: provide the pack and the limit of a pass.
            base: provides the tokenizer that turns answers into text.
            study: names the metrics.
            decoder: decodes with the adapters in `stack`; None if the study decodes nothing.
            stack: holds the copies, one per adapter that can wait at once.
            labels: every label of a classification task.
            jobs: scores the decoded texts.
            kept_ids: special tokens that the text of an answer keeps.
        """
        self._slots, self._study = slots, study
        self._read = AnswerReader(base.tokenizer, kept_ids)
        self._decoder, self._stack, self._labels, self._jobs = decoder, stack, labels, jobs
        self._free = list(range(stack.slots))
        self._requests: dict[Hashable, _Request] = {}
        self._computed: dict[Hashable, tuple[_Request, _Texts]] = {}
        self._losses: deque[tuple[_Request, int]] = deque()
        self.decoded_tokens = 0

    def __contains__(self, key: Hashable) -> bool:
        """Return whether the scores of a key are still to come."""
        return key in self._requests or key in self._computed

    @property
    def waiting(self) -> tuple[Hashable, ...]:
        """Keys of the requests that still need the device, oldest first."""
        return tuple(self._requests)

    @property
    def scores_texts(self) -> bool:
        """True if texts are being scored that no longer need the device."""
        return bool(self._computed)

    @property
    def has_room(self) -> bool:
        """True if the stack has a free place for another copy."""
        return bool(self._free)

    def copy(self, key: Hashable, slot: int, examples: Sequence[Example]) -> None:
        """Request scores on some examples for a copy of a slot's adapter."""
        self._stack.copy(self._free[-1], self._slots.pack.stack, slot)
        self._add(key, self._free.pop(), examples)

    def put(self, key: Hashable, state: AdapterState, examples: Sequence[Example], *, scaling: float) -> None:
        """Request scores for an adapter that is in no slot."""
        self._stack.put(self._free[-1], state, scaling=scaling)
        self._add(key, self._free.pop(), examples)

    def put_base(self, key: Hashable, examples: Sequence[Example]) -> None:
        """Request scores for the base without an adapter."""
        self._add(key, BASE, examples)

    def drop(self, key: Hashable) -> None:
        """Remove the request of a key, if there is one."""
        if key in self._computed:
            self._computed.pop(key)[1].cancel()
        request = self._requests.get(key)
        if request is None:
            return
        self._losses = deque(item for item in self._losses if item[0] is not request)
        if self._decoder is not None:
            self._decoder.drop(request.row)
        self._release(request)

    @torch.no_grad()
    def advance(self) -> None:
        """Do one unit of pending work: a pass for losses first, else a few steps of decoding."""
        if self._losses:
            self._compute_losses()
        elif self._decoder is not None and self._decoder.busy:
            for answer in self._decoder.advance():
                self.decoded_tokens += len(answer.ids)
                place: _Place = answer.key  # type: ignore[assignment]
                if (request := self._requests.get(place.key)) is not None:
                    request.answers[place.example] = self._read(answer.ids)
        for request in [request for request in self._requests.values() if request.computed]:
            self._score_texts(request)

    def scored(self, *, wait_seconds: float = 0.0) -> list[Result]:
        """Return the results that are complete, each once.

        Args:
            wait_seconds: longest wait for the first result.
        """
        if wait_seconds:
            begun: list[Future[Any]] = [texts for _, texts in self._computed.values()]
            wait(begun, wait_seconds, return_when=FIRST_COMPLETED)
        finished = [key for key, (_, texts) in self._computed.items() if texts.done()]
        return [Result(key, partial(_evaluation, *self._computed.pop(key))) for key in finished]

    def _add(self, key: Hashable, row: int, examples: Sequence[Example]) -> None:
        count = len(examples)
        request = _Request(key=key, row=row, examples=examples, loss_sums=np.zeros(count), losses_left=count)
        self._requests[key] = request
        self._losses += [(request, index) for index in range(count)]
        if self._decoder is None:
            request.answers = dict.fromkeys(range(count), "")
            return
        self._decoder.add(
            Prompt(slot=row, key=_Place(key, index), ids=example.prompt_ids)
            for index, example in enumerate(examples)
        )

    def _compute_losses(self) -> None:
        chosen: list[tuple[_Request, int]] = []
        budget = self._slots.pack.pass_budget(self._slots.tokens_per_pass)
        while self._losses:
            request, index = self._losses[0]
            length = len(request.examples[index]) - 1  # the last token is only ever a target
            if not budget.fits(request.row, length):
                break
            budget.add(request.row, length)
            chosen.append(self._losses.popleft())
        chosen.sort(key=lambda item: item[0].row)
        pieces = [example_piece(request.examples[index], slot=request.row) for request, index in chosen]
        try:
            host = self._slots.pack.lay_out(pieces, slots=self._stack.slots)
            losses = self._slots.pack.runner.run("losses", host, self._losses_of).double().cpu().numpy()
        except Exception:
            self._losses.extendleft(reversed(chosen))
            raise
        for (request, index), start in zip(chosen, host.target_starts, strict=True):
            request.loss_sums[index] = losses[start : start + len(request.examples[index].answer_ids)].sum()
            request.losses_left -= 1

    def _losses_of(self, inputs: PassInputs) -> torch.Tensor:
        with torch.no_grad(), self._slots.pack.model.enter_pass(inputs, self._stack):
            return self._slots.pack.model.losses(inputs)[1]

    def _score_texts(self, request: _Request) -> None:
        """Start scoring the answers of a request, and free its place for another copy."""
        if self._decoder is None:
            texts: _Texts = completed(lambda: None)
        else:
            texts = self._jobs.begin(text_job(self._study, request.examples, request.in_order, self._labels))
        self._release(request)
        self._computed[request.key] = request, texts

    def _release(self, request: _Request) -> None:
        del self._requests[request.key]
        if request.row != BASE:
            self._free.append(request.row)


def _evaluation(request: _Request, texts: _Texts) -> Evaluation:
    return score_answers(
        request.examples, loss_sums=request.loss_sums, answers=request.in_order, texts=texts.result()
    )
