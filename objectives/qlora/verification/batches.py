"""Batches of examples as tensors, sorted by length, with the positions of the answer tokens."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch

from loratory.objectives.data.prepared import Example


@dataclass(frozen=True, kw_only=True)
class Batch:
    """B examples, padded on the right to the longest, and the positions that predict answer tokens.

    Padding follows every real token, so causal attention never sees it and no mask is needed.

    Attributes:
        input_ids: int64 [B, T]; the last token of each example is only ever a target.
        rows: int64 [N], the example of each answer token.
        columns: int64 [N], the position that predicts it.
        targets: int64 [N], the answer token.
    """

    input_ids: torch.Tensor
    rows: torch.Tensor
    columns: torch.Tensor
    targets: torch.Tensor


def collate(examples: Sequence[Example], *, padding_id: int, device: torch.device) -> Batch:
    """Return one batch of the examples, in their order."""
    longest = max(len(example) for example in examples) - 1
    inputs: list[list[int]] = []
    rows: list[int] = []
    columns: list[int] = []
    targets: list[int] = []
    for row, example in enumerate(examples):
        ids = (*example.prompt_ids, *example.answer_ids)[:-1]
        inputs.append([*ids, *[padding_id] * (longest - len(ids))])
        rows += [row] * len(example.answer_ids)
        columns += range(len(example.prompt_ids) - 1, len(ids))
        targets += example.answer_ids
    # One transfer for the three short lists.
    places = torch.tensor([rows, columns, targets]).to(device, non_blocking=True)
    return Batch(
        input_ids=torch.tensor(inputs).to(device, non_blocking=True),
        rows=places[0],
        columns=places[1],
        targets=places[2],
    )


def collate_prompts(
    examples: Sequence[Example], *, padding_id: int, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad prompts on the left, so that all answers begin in one column.

    Returns:
        Input ids and attention mask, int64 [B, T] each.
    """
    longest = max(len(example.prompt_ids) for example in examples)
    gaps = [longest - len(example.prompt_ids) for example in examples]
    inputs = [[*[padding_id] * gap, *example.prompt_ids] for gap, example in zip(gaps, examples, strict=True)]
    mask = [[0] * gap + [1] * (longest - gap) for gap in gaps]
    return torch.tensor(inputs).to(device), torch.tensor(mask).to(device)


def longest_first(lengths: Iterable[int]) -> list[int]:
    """Return indices by descending length: batches need little padding, and the first needs most memory."""
    measured = list(lengths)
    return sorted(range(len(measured)), key=lambda index: (-measured[index], index))
