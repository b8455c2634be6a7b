"""Encode rows as token ids with the loss on what is learned, and check that each row is encoded so."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from loratory.objectives.data.batch_tokenizer import BatchTokenizer
from loratory.objectives.data.examples import Example
from loratory.objectives.data.rendered import LeftOutError
from loratory.objectives.data.rendering import Rendered, Renderer, RenderError, Tokenizer
from loratory.objectives.data.rows import Ledger, Part, Reason, Row
from loratory.objectives.data.special_tokens import AnswerReader, ending_ids, special_ids
from loratory.spaces.errors import InputError

_COMPARED = 512


@dataclass(frozen=True, kw_only=True)
class Encoded(Example):
    """An example with the row that it was made of; its id is that of the content, which equal rows share."""

    row: Row


class Encoder:
    """Renders and encodes rows with one tokenizer.

    Attributes:
        kept_ids: special tokens that are part of answers encoded so far, which their texts keep.
    """

    def __init__(self, tokenizer: Tokenizer, renderer: Renderer) -> None:
        if tokenizer.eos_token_id is None or not tokenizer.eos_token:
            raise InputError(
                "the tokenizer must have an end-of-sequence token, has none: models learn to stop by it"
            )
        self._tokenizer, self._renderer = tokenizer, renderer
        self._batch = BatchTokenizer(tokenizer)
        self._eos: str = tokenizer.eos_token
        self._eos_id: int = tokenizer.eos_token_id
        self._bos_id = tokenizer.bos_token_id
        self._opening = self._opening_ids() if renderer.adds_special_tokens else ()
        self._closings: dict[str, tuple[int, ...]] = {}
        self._divides: bool | None = None
        self._keepable = special_ids(tokenizer) - ending_ids(tokenizer, self._closing(renderer.closing))
        self._read = AnswerReader(tokenizer, self._keepable)
        self.kept_ids: set[int] = set()

    def encode(self, rows: Sequence[Row], part: Part, ledger: Ledger) -> list[Encoded]:
        """Encode rows; rows that the template or the tokenizer cannot represent go to the ledger.

        Raises:
            InputError: the chat template has no place for the tools or calls of a row.
        """
        rendered = [(row, text) for row in rows if (text := self._render(row, part, ledger)) is not None]
        encoded = self._ids(rendered)
        if not encoded:
            return []
        kept = []
        texts = [text for _, text in rendered]
        for text, example, reads in zip(texts, encoded, self._decode(encoded, texts), strict=True):
            problem = self._problem(example, text, reads)
            if problem is None:
                kept.append(example)
                self.kept_ids |= self._keepable.intersection(self._written(example, text))
            else:
                ledger.remove(part, example.row.raw, reason=Reason.UNENCODABLE, detail=problem)
        return kept

    def _render(self, row: Row, part: Part, ledger: Ledger) -> Rendered | None:
        try:
            text = self._renderer.render(row)
        except LeftOutError as error:
            raise InputError(f"{row.raw.place}: {error}") from error
        except RenderError as error:
            ledger.remove(part, row.raw, reason=Reason.TEMPLATE, detail=str(error))
            return None
        # Answers prepared for another trainer may already end with end-of-sequence; it is added once, below.
        return replace(text, answer=text.answer.rstrip().removesuffix(self._eos).rstrip())

    def _ids(self, rendered: Sequence[tuple[Row, Rendered]]) -> list[Encoded]:
        texts = [text for _, text in rendered]
        prompts = self._batch.ids([text.prompt for text in texts])
        answers = self._answers(texts, prompts)
        return [
            self._encoded(row, text, prompt, answer)
            for (row, text), prompt, answer in zip(rendered, prompts, answers, strict=True)
        ]

    def _answers(self, texts: Sequence[Rendered], prompts: Sequence[list[int]]) -> list[list[int]]:
        """Return the answers' ids as they follow the prompts.

        At inference the prompt is encoded alone. If a token of the whole text spans the border between prompt
        and answer, the answer is encoded alone too.
        """
        joined = [place for place, text in enumerate(texts) if not (self._divides and _ends_a_line(text))]
        wholes = self._batch.ids([texts[place].prompt + texts[place].answer for place in joined])
        follows = {
            place: whole[len(prompts[place]) :]
            for place, whole in zip(joined, wholes, strict=True)
            if whole[: len(prompts[place])] == prompts[place]
        }
        if self._divides is None:
            self._divides = self._answers_divide(texts, follows)
        rest = [place for place in range(len(texts)) if place not in follows]
        alone = self._batch.ids([texts[place].answer for place in rest])
        answers = follows | dict(zip(rest, alone, strict=True))
        return [answers[place] for place in range(len(texts))]

    def _answers_divide(self, texts: Sequence[Rendered], follows: Mapping[int, list[int]]) -> bool | None:
        """Return whether answers after a line break have the ids that they have alone; None: none is here.

        No token spans such a border and what stands before it does not change how an answer is divided, but
        some tokenizers put a space before each text. The first answers tell; then others are encoded alone,
        which takes two thirds of the time of whole texts.
        """
        places = [place for place in follows if _ends_a_line(texts[place])][:_COMPARED]
        if not places:
            return None
        return self._batch.ids([texts[place].answer for place in places]) == [follows[p] for p in places]

    def _encoded(self, row: Row, text: Rendered, prompt: list[int], answer: list[int]) -> Encoded:
        encoded = Encoded(
            row=row,
            example_id=row.content_id,
            group=row.content_id if row.group is None else row.group,
            prompt=text.prompt,
            reference=text.answer.strip(),
            prompt_ids=self._opened(prompt),
            answer_ids=(*answer, *self._closing_of(text), self._eos_id),
        )
        if not text.learned:
            return encoded
        mask = self._mask(text, shift=len(encoded.prompt_ids) - len(prompt))
        return replace(encoded, learned=(*mask, *[True] * len(encoded.answer_ids)))

    def _mask(self, text: Rendered, *, shift: int) -> list[bool]:
        """Return for each token of a prompt whether it begins within a part that is learned.

        Args:
            text: the row.
            shift: tokens that were put before the prompt's own, negative where some were removed.

        Raises:
            InputError: the tokenizer does not tell which characters a token stands for.
        """
        try:
            places = self._tokenizer(
                text.prompt, add_special_tokens=False, verbose=False, return_offsets_mapping=True
            )["offset_mapping"]
        except NotImplementedError as error:
            raise InputError(
                "data.learn: all needs a fast tokenizer, which knows the place of each token; "
                "the base has none: set data.learn: last"
            ) from error
        mask = [
            any(start <= first < end and last > first for start, end in text.learned)
            for first, last in places
        ]
        mask = [*[False] * shift, *mask[max(0, -shift) :]]
        return [False, *mask[1:]]  # nothing predicts the first token

    def _opened(self, prompt: Sequence[int]) -> tuple[int, ...]:
        """Return the prompt with one beginning-of-sequence token, whether text, tokenizer or both add it."""
        ids = (*self._opening, *prompt)
        while len(ids) > 1 and self._bos_id is not None and ids[0] == ids[1] == self._bos_id:
            ids = ids[1:]
        return ids

    def _problem(self, example: Encoded, text: Rendered, decoded: str) -> str | None:
        """Return what is wrong with an example's token ids, or None."""
        if not example.prompt_ids:
            return "the tokenizer makes no token of the prompt"
        if self._eos_id in example.answer_ids[:-1]:
            return f"the answer holds the end-of-sequence token {self._eos}"
        if decoded.strip() != example.reference and _folded(decoded) != _folded(example.reference):
            return f"the learned tokens read {decoded[:80]!r}, not the answer"
        if example.learned is not None:
            return self._problem_of_turns(example, text)
        return None

    def _problem_of_turns(self, example: Encoded, text: Rendered) -> str | None:
        """Return what is wrong with the learned tokens of earlier turns, or None."""
        learned = [token for token, on in zip(example.prompt_ids, example.learned or (), strict=False) if on]
        reads = self._tokenizer.batch_decode(
            [learned], skip_special_tokens=False, clean_up_tokenization_spaces=False
        )[0]
        if _folded(reads) != _folded("".join(text.prompt[start:end] for start, end in text.learned)):
            return f"the learned tokens of earlier turns read {reads[:80]!r}, not these turns"
        return None

    def _decode(self, examples: Sequence[Encoded], texts: Sequence[Rendered]) -> list[str]:
        """Return the texts of answers, with the special tokens that belong to them."""
        decoded = self._batch.texts([example.answer_ids for example in examples])
        return [
            reads
            if self._keepable.isdisjoint(written := self._written(example, text))
            else self._read(written)
            for example, text, reads in zip(examples, texts, decoded, strict=True)
        ]

    def _written(self, example: Encoded, text: Rendered) -> tuple[int, ...]:
        """Return the answer's tokens without those that end the turn."""
        return example.answer_ids[: len(example.answer_ids) - len(self._closing_of(text)) - 1]

    def _closing_of(self, text: Rendered) -> tuple[int, ...]:
        return self._closing(self._renderer.closing if text.closing is None else text.closing)

    def _opening_ids(self) -> tuple[int, ...]:
        """Return the beginning-of-sequence token if the tokenizer starts texts with it, else nothing."""
        first = self._tokenizer("a")["input_ids"][:1]
        return (self._bos_id,) if self._bos_id is not None and first == [self._bos_id] else ()

    def _closing(self, text: str) -> tuple[int, ...]:
        """Return the token ids of an end of turn; none if they are text, which would be scored."""
        if text not in self._closings:
            ids = tuple(
                self._tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"] if text else ()
            )
            reads = self._tokenizer.batch_decode([list(ids)], skip_special_tokens=True)[0] if ids else "-"
            self._closings[text] = () if reads.strip() else ids
        return self._closings[text]


def _ends_a_line(text: Rendered) -> bool:
    """Return whether a line break alone stands between prompt and answer."""
    return text.prompt.endswith("\n") and not text.answer[:1].isspace()


def _folded(text: str) -> str:
    """Return the text without what tokenizers normalise: width, case and white space."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
