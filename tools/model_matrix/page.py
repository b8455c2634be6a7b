"""The verdicts as lines of the terminal and as docs/models.md."""

import re
from collections import Counter
from collections.abc import Sequence
from textwrap import fill

from model_matrix.verdict import Verdict

_WIDTH = 120
_PARAGRAPHS = (
    "Made by `make models`. Each base is tiny and random, in nf4 and fp32 unless its name says otherwise, "
    "and goes through a study as any other does: two trials, two updates, all rows.",
    "*Right* means that the loss of every example is that of plain PEFT to 1e-5, every greedy answer "
    "that of transformers' `generate` (up to a near tie of its two best tokens), the updates' losses and "
    "gradients those of PEFT, and that PEFT loads the adapter. All else is refused in a sentence before "
    "the first trial. The same questions are asked of every base when a study starts.",
    "A base trains *packed*, where several trials share passes, or *one at a time*, where they take turns.",
    "Answers come from the *cache* of packs, for all trials at once; from transformers' *generate*, one "
    "adapter after another; or from generate *uncached*, which computes all earlier tokens again for each "
    "new one.",
    "Not in the matrix: models that need more than tokens of text (Blt, Fuyu, GIT, Mllama, Moshi, MusicGen, "
    "multimodal releases, whose text parts have rows of their own), those without a tiny configuration that "
    "transformers accepts (DeepSeek V4, Zamba 2, Qwen 4, Reformer, XLNet, ProphetNet, the assistants of "
    "Gemma 4), and further names of models that have a row.",
)


def summary(verdict: Verdict) -> str:
    """Return a verdict as one line."""
    ways = f"{verdict.result:9s} {verdict.training:14s} {verdict.decoding:9s}"
    return f"{verdict.name:45s} {ways} {verdict.seconds:5.1f} s  {verdict.detail}".rstrip()


def page(verdicts: Sequence[Verdict]) -> str:
    """Return the page of the documentation."""
    notes = [*dict.fromkeys(_note(verdict) for verdict in verdicts if verdict.detail)]
    counts = Counter(verdict.result for verdict in verdicts)
    rows = ["| architecture | result | trains | answers | note |", "|---|---|---|---|---|"]
    for verdict in sorted(verdicts, key=lambda verdict: (verdict.result != "right", verdict.name)):
        note = str(notes.index(_note(verdict)) + 1) if verdict.detail else ""
        cells = verdict.name, verdict.result, verdict.training, verdict.decoding, note
        rows.append(f"| {' | '.join(cells)} |".replace("  ", " "))
    items = [
        fill(
            f"{place}. {note}",
            _WIDTH,
            subsequent_indent="   ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for place, note in enumerate(notes, 1)
    ]
    counted = ", ".join(f"{count} {result}" for result, count in counts.most_common())
    head = "\n\n".join(fill(paragraph, _WIDTH, break_on_hyphens=False) for paragraph in _PARAGRAPHS)
    lines = ["# Architectures", "", head, "", f"{len(verdicts)} architectures: {counted}.", "", *rows]
    return "\n".join([*lines, "", "## Notes", *items, ""])


def _note(verdict: Verdict) -> str:
    """Return a detail without what differs between bases that are alike."""
    without = verdict.detail.replace(verdict.name, "it")
    return re.sub(r" \(logits differ by [^)]*\)|; it cannot be packed|^model\.base: ", "", without)[:300]
