"""Sequences of drawn tokens, and the logits that the untouched base computes for them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import torch

_PROMPTS, _NEW_TOKENS = (11, 5, 8, 5), 12
# Differences by rounding, relative to the norm of the logits; wrong attention changes them by far more.
_TOLERANCES = {torch.float64: 1e-6, torch.float32: 1e-3, torch.float16: 0.05, torch.bfloat16: 0.1}
# In a mixture of experts in half precision, rounding may choose another expert. Where embeddings that
# differ by rounding change logits by more, that is the tolerance, up to a limit that wrong attention exceeds.
_MOST = 0.6
# A single place may differ by this multiple of the tolerance over all places.
_ONE_PLACE = 4
# Some models hide tokens with the lowest number of their dtype, which would be all of the norm.
_HIDDEN = -3e4
# Configurations name the latest tokens that a token sees in one of these ways.
_WINDOWS = ("sliding_window", "attention_chunk_size", "window_size", "local_attention", "attention_window")
_LONGEST_WINDOW = 4096


@dataclass(frozen=True, kw_only=True)
class ProbeSequence:
    """A prompt, and tokens that are taken for its answer whatever the base would say.

    Attributes:
        prompt: tokens of the prompt.
        answer: the tokens that follow.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]

    @property
    def input_ids(self) -> tuple[int, ...]:
        """All tokens but the last, which is only ever a target."""
        return (*self.prompt, *self.answer)[:-1]


class Reference:
    """Logits of the base as transformers loaded it, at each place that predicts a token of an answer.

    Attributes:
        sequences: the sequences, the longest prompt first. Where the base's attention has a window that some
            sequence of the data exceeds, one of them exceeds it too.
        expected: per sequence, fp32 [answer tokens, V].
        changed: matrices of the model that are others, or hold other numbers, after its forward passes.
    """

    def __init__(
        self,
        model: Any,
        device: torch.device,
        *,
        avoid: Collection[int] = (),
        longest: int | None = None,
    ) -> None:
        """Draw sequences and compute their logits, one sequence per forward pass.

        Args:
            model: a causal language model as transformers loaded it.
            device: of the model.
            avoid: tokens that are not drawn, such as those that end an answer.
            longest: tokens of the longest sequence that will ever be computed; None if unknown.

        Raises:
            ValueError: the model returns no logits of one row per token.
        """
        self._device = device
        draw = torch.Generator().manual_seed(0)
        most = model.get_input_embeddings().weight.shape[0]
        kept = torch.tensor(sorted(set(range(most)) - {*avoid, *_special_tokens(model)}))
        lengths = [length + _NEW_TOKENS for length in (*_window_to_exceed(model, longest), *_PROMPTS)]
        drawn = (kept[torch.randint(len(kept), (length,), generator=draw)].tolist() for length in lengths)
        self.sequences = sorted(
            (ProbeSequence(prompt=(*ids[:-_NEW_TOKENS],), answer=(*ids[-_NEW_TOKENS:],)) for ids in drawn),
            key=lambda sequence: -len(sequence.prompt),
        )
        self._other = int(kept[0]), int(kept[-1])
        before = _matrices(model)
        with torch.no_grad():
            self.expected = [self._logits(model, s.input_ids)[-_NEW_TOKENS:] for s in self.sequences]
            self._rounding = self._change_by_rounding(model)
        self.changed = sorted({name for name, _ in before.items() ^ _matrices(model).items()})

    @property
    def finite(self) -> bool:
        """True if no logit is infinite or NaN, except those by which a model hides tokens."""
        return all(bool((logits.isfinite() | (logits < _HIDDEN)).all()) for logits in self.expected)

    @property
    def all_zero(self) -> bool:
        """True if every logit is zero, as of weights that were never written."""
        return not any(bool(logits.any()) for logits in self.expected)

    def why_wrong(self, logits: Sequence[torch.Tensor], dtype: torch.dtype) -> str | None:
        """Return by how much logits differ from those expected; None where rounding may be the reason.

        Args:
            logits: [answer tokens, V] of each sequence; those of the longest may be missing.
            dtype: compute dtype of the base.
        """
        apart, norms = [], []
        for got, expected in zip(logits, self.expected[-len(logits) :], strict=True):
            seen = expected > _HIDDEN
            difference = torch.where(seen, got.float() - expected, 0.0)
            apart.append(difference.norm(dim=-1))
            norms.append(torch.where(seen, expected, 0.0).norm(dim=-1))
        difference, norm = torch.cat(apart), torch.cat(norms)
        overall, worst = (difference.norm() / norm.norm()).item(), (difference / norm).max().item()
        tolerance = self._tolerance(dtype)
        if overall < tolerance and worst < _ONE_PLACE * tolerance:
            return None
        return f"logits differ by {overall:.1%}, in one place by {worst:.1%}"

    def why_not_causal(self, model: Any, dtype: torch.dtype) -> str | None:
        """Return which token of a sequence changes earlier logits, and by how much; None where none does.

        Asked of are the last token, since encoders see all of a text, and some before, since other models see
        all of a prompt. In a mixture of experts any token may change earlier logits by rounding, since it is
        computed together with them. Their gradient tells then: in a causal model it is exactly zero.

        Args:
            model: the model of which the expected logits are.
            dtype: compute dtype of the base.
        """
        ids = self.sequences[-1].input_ids
        with torch.no_grad():
            logits = self._logits(model, ids)
        for place in (len(ids) - 1, len(ids) // 2, len(ids) // 4, 1):
            change = self._change_before(model, place, logits)
            if change == 0 or (change < self._tolerance(dtype) and not self._reaches_back(model, ids, place)):
                continue
            token = "the last token" if place == len(ids) - 1 else f"token {place + 1}"
            return f"{token} of a text changes the logits of earlier ones by {change:.1%}"
        return None

    @torch.no_grad()
    def _change_before(self, model: Any, place: int, logits: torch.Tensor) -> float:
        """Return by how much another token at a place changes earlier logits at most, relative to their norm.

        Args:
            model: the model.
            place: at least 1.
            logits: fp32 [T, V], of the sequence as it is.
        """
        ids, (first, last) = self.sequences[-1].input_ids, self._other
        changed = (*ids[:place], last if ids[place] != last else first, *ids[place + 1 :])
        before, after = logits[:place], self._logits(model, changed)[:place]
        seen = before > _HIDDEN
        change = torch.where(seen, after - before, 0.0).norm(dim=-1)
        largest: float = (change / torch.where(seen, before, 0.0).norm(dim=-1)).max().item()
        return largest

    def _tolerance(self, dtype: torch.dtype) -> float:
        return max(_TOLERANCES[dtype], min(_MOST, self._rounding))

    def _change_by_rounding(self, model: Any) -> float:
        """Return how much logits change, relative to their norm, where embeddings differ by rounding."""
        draw = torch.Generator().manual_seed(0)

        def round_otherwise(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
            noise = torch.randn(output.shape, generator=draw).to(output.device, output.dtype)
            return output * (1 + torch.finfo(output.dtype).eps * noise)

        hook = model.get_input_embeddings().register_forward_hook(round_otherwise)
        try:
            got = torch.cat([self._logits(model, s.input_ids)[-_NEW_TOKENS:] for s in self.sequences])
        finally:
            hook.remove()
        expected = torch.cat(self.expected)
        seen = expected > _HIDDEN
        change = torch.where(seen, got - expected, 0.0).norm() / torch.where(seen, expected, 0.0).norm()
        return change.item() if change.isfinite() else 0.0

    def _reaches_back(self, model: Any, ids: Sequence[int], place: int) -> bool:
        """Return whether logits before a place have a gradient for the embedding of its token."""
        embedded: list[torch.Tensor] = []

        def keep(_: Any, __: Any, output: torch.Tensor) -> torch.Tensor:
            embedded.append(output.detach().requires_grad_())
            return embedded[-1]

        hook = model.get_input_embeddings().register_forward_hook(keep)
        try:
            with torch.enable_grad():
                earlier = self._logits(model, ids)[:place]
                seen = torch.where(earlier > _HIDDEN, earlier, 0.0)
                (gradient,) = torch.autograd.grad(seen.square().sum(), embedded[:1])
        except (RuntimeError, NotImplementedError):  # no backward pass outside of a pack: nothing to tell
            return False
        finally:
            hook.remove()
        return bool(gradient[0, place].any())

    def _logits(self, model: Any, ids: Sequence[int]) -> torch.Tensor:
        """Compute the logits of a sequence alone, fp32 [T, V]."""
        output = model(input_ids=torch.tensor([ids], device=self._device), use_cache=False)
        logits = getattr(output, "logits", None)
        if not isinstance(logits, torch.Tensor) or logits.shape[:-1] != (1, len(ids)):
            shape = None if logits is None else tuple(getattr(logits, "shape", ()))
            raise ValueError(f"logits: must be of shape (1, {len(ids)}, vocabulary), got {shape}")
        return logits[0].float()


def _matrices(model: Any) -> dict[str, tuple[int, int]]:
    """Return identity and version of each matrix, which change with its numbers."""
    return {name: (id(p), p._version) for name, p in model.named_parameters() if p.ndim > 1}


def _special_tokens(model: Any) -> set[int]:
    """Return the tokens that a configuration names, such as padding or an image's place."""
    found: set[int] = set()
    for config in (model.config, model.config.get_text_config()):
        for name, value in vars(config).items():
            if name.endswith(("_token_id", "_token_index")):
                found |= {
                    one for one in (value if isinstance(value, list) else [value]) if isinstance(one, int)
                }
    return found


def _window_to_exceed(model: Any, longest: int | None) -> tuple[int, ...]:
    """Return the length of a prompt that exceeds the base's window, where some sequence of the data does."""
    config = model.config.get_text_config()
    windows = [getattr(config, name, None) for name in _WINDOWS]
    sizes = [size for size in windows if isinstance(size, int) and size > max(_PROMPTS)]
    if not sizes or longest is None or not min(sizes) < min(longest, _LONGEST_WINDOW):
        return ()
    return (min(sizes) + 1,)
