"""Find texts that contain an answer which the quickstart is scored on: a sentence of eval or test."""

from collections.abc import Iterable
from pathlib import Path

from loratory.objectives.quickstart.functions import described_functions, normalised, read_source
from loratory.objectives.quickstart.stdlib import Split, split_of, stdlib_modules

# Shorter answers ("Stub", "Constructor": nine of 1,824) fit many functions and are everywhere.
SHORTEST_ANSWER_CHARACTERS = 12


def held_out_answers(folders: Iterable[Path | None] = (None,)) -> frozenset[str]:
    """Return the eval and test sentences of standard libraries; None: the running interpreter's."""
    return frozenset(
        function.sentence
        for folder in folders
        for module in stdlib_modules(folder)
        if split_of(module.name) is not Split.TRAIN
        for function in described_functions(read_source(module.path) or "")
    )


def searchable(text: str) -> str:
    """Return the text on one line without comment signs, so that a wrapped sentence is found too."""
    return normalised(text.replace("#", " "))


class AnswerFilter:
    """Finds which of many answers a text contains; whitespace and a final full stop are ignored.

    An answer is searched for only in a text that has all of the answer's inner words, the longest one
    first: thousands of answers are searched for in hundreds of megabytes in half a minute.
    """

    def __init__(self, answers: Iterable[str]) -> None:
        needles = {searchable(answer).rstrip(".") for answer in answers}
        self.needles = frozenset(needle for needle in needles if len(needle) >= SHORTEST_ANSWER_CHARACTERS)
        self._by_anchor: dict[str, list[tuple[frozenset[str], str]]] = {}
        for needle in sorted(self.needles):
            # In a text the outer words may be joined to quotes or commas; the inner words are separate.
            inner = frozenset(needle.split()[1:-1])
            anchor = max(inner, key=lambda word: (len(word), word), default="")
            self._by_anchor.setdefault(anchor, []).append((inner, needle))

    def found_in(self, text: str) -> list[str]:
        """Return the answers that the text contains, whole or within a longer sentence, sorted."""
        flat = searchable(text)
        words = {"", *flat.split()}
        return sorted(
            needle
            for anchor in words & self._by_anchor.keys()
            for inner, needle in self._by_anchor[anchor]
            if inner <= words and needle in flat
        )
