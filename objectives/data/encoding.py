"""Encode rows as token ids with the loss on the answer alone, and check that each row is encoded so."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

from loratory.objectives.data.rendering import Rendered, Renderer, RenderError, Tokenizer
from loratory.objectives.data.rows import Ledger, Part, Reason, Row
from loratory.spaces.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """A row with its token ids.

    Attributes:
        row: the row that was encoded.
        prompt: the text that the model reads.
        reference: the answer.
        prompt_ids: token ids of the prompt; the loss leaves them out.
        answer_ids: token ids of the answer, which are learned; end-of-sequence is the last.
        learned: for each token of prompt and answer, whether the loss is on it; None: on the answer alone.
    """

    row: Row
    prompt: str
    reference: str
    prompt_ids: tuple[int, ...]
    answer_ids: tuple[int, ...]
    learned: tuple[bool, ...] | None = None

    def __len__(self) -> int:
        """Return the number of tokens of prompt and answer."""
        return len(self.prompt_ids) + len(self.answer_ids)


class Encoder:
    """Renders and encodes rows with one tokenizer."""

    def __init__(self, tokenizer: Tokenizer, renderer: Renderer) -> None:
        if tokenizer.eos_token_id is None or not tokenizer.eos_token:
            raise InputError(
                "the tokenizer must have an end-of-sequence token, has none: models learn to stop by it"
            )
        self._tokenizer, self._renderer = tokenizer, renderer
        self._eos: str = tokenizer.eos_token
        self._eos_id: int = tokenizer.eos_token_id
        self._bos_id = tokenizer.bos_token_id
        self._opening = self._opening_ids() if renderer.adds_special_tokens else ()
        self._closing = self._closing_ids()

    def encode(self, rows: Sequence[Row], part: Part, ledger: Ledger) -> list[Encoded]:
        """Encode rows; rows that the template or the tokenizer cannot represent go to the ledger."""
        rendered = [(row, text) for row in rows if (text := self._render(row, part, ledger)) is not None]
        encoded = self._ids(rendered)
        if not encoded:
            return []
        decoded = self._decode([example.answer_ids for example in encoded])
        kept = []
        for example, reads in zip(encoded, decoded, strict=True):
            problem = self._problem(example, reads)
            if problem is None:
                kept.append(example)
            else:
                ledger.remove(part, example.row.raw, reason=Reason.UNENCODABLE, detail=problem)
        return kept

    def _render(self, row: Row, part: Part, ledger: Ledger) -> Rendered | None:
        try:
            text = self._renderer.render(row)
        except RenderError as error:
            ledger.remove(part, row.raw, reason=Reason.TEMPLATE, detail=str(error))
            return None
        # Answers prepared for another trainer may already end with end-of-sequence; it is added once, below.
        return Rendered(text.prompt, text.answer.rstrip().removesuffix(self._eos).rstrip())

    def _ids(self, rendered: Sequence[tuple[Row, Rendered]]) -> list[Encoded]:
        if not rendered:  # transformers encodes and decodes an empty list as one empty text
            return []
        prompts = self._tokenize([text.prompt for _, text in rendered])
        wholes = self._tokenize([text.prompt + text.answer for _, text in rendered])
        alone = self._tokenize([text.answer for _, text in rendered])
        return [
            Encoded(
                row=row,
                prompt=text.prompt,
                reference=text.answer.strip(),
                prompt_ids=self._opened(prompt),
                answer_ids=(*_after(prompt, whole, answer), *self._closing, self._eos_id),
            )
            for (row, text), prompt, whole, answer in zip(rendered, prompts, wholes, alone, strict=True)
        ]

    def _opened(self, prompt: Sequence[int]) -> tuple[int, ...]:
        """Return the prompt with one beginning-of-sequence token, whether text, tokenizer or both add it."""
        ids = (*self._opening, *prompt)
        while len(ids) > 1 and self._bos_id is not None and ids[0] == ids[1] == self._bos_id:
            ids = ids[1:]
        return ids

    def _problem(self, example: Encoded, decoded: str) -> str | None:
        """Return what is wrong with an example's token ids, or None."""
        if not example.prompt_ids:
            return "the tokenizer makes no token of the prompt"
        if self._eos_id in example.answer_ids[:-1]:
            return f"the answer holds the end-of-sequence token {self._eos}"
        if _folded(decoded) != _folded(example.reference):
            return f"the learned tokens read {decoded[:80]!r}, not the answer"
        return None

    def _tokenize(self, texts: list[str]) -> list[list[int]]:
        ids: list[list[int]] = self._tokenizer(texts, add_special_tokens=False, verbose=False)["input_ids"]
        return ids

    def _decode(self, sequences: list[tuple[int, ...]]) -> list[str]:
        return self._tokenizer.batch_decode(
            [list(ids) for ids in sequences], skip_special_tokens=True, clean_up_tokenization_spaces=False
        )

    def _opening_ids(self) -> tuple[int, ...]:
        """Return the beginning-of-sequence token if the tokenizer starts texts with it, else nothing."""
        first = self._tokenizer("a")["input_ids"][:1]
        return (self._bos_id,) if self._bos_id is not None and first == [self._bos_id] else ()

    def _closing_ids(self) -> tuple[int, ...]:
        """Return the template's end-of-turn tokens; none if they are text, which would be scored."""
        ids = tuple(self._tokenize([self._renderer.closing])[0]) if self._renderer.closing else ()
        return ids if ids and not self._decode([ids])[0].strip() else ()


def _after(prompt: list[int], whole: list[int], alone: list[int]) -> list[int]:
    """Return the answer's ids as they follow the prompt.

    At inference the prompt is encoded alone. If a token of the whole text spans the border between prompt
    and answer, the answer is encoded alone too.
    """
    return whole[len(prompt) :] if whole[: len(prompt)] == prompt else alone


def _folded(text: str) -> str:
    """Return the text without what tokenizers normalise: width, case and white space."""
    return "".join(unicodedata.normalize("NFKC", text).casefold().split())
