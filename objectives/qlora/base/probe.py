"""Checks of a loaded base before the first trial, and the choice of right ways to train and decode it."""

from dataclasses import dataclass, replace

import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.packing.compatibility import PackingProbe
from loratory.objectives.packing.decoding.apart import Generation
from loratory.objectives.packing.decoding.cache import why_not_cached
from loratory.objectives.packing.decoding.probe import DecodingProbe
from loratory.objectives.packing.model import PackedModel
from loratory.objectives.qlora.base.formats.none import NONE
from loratory.objectives.qlora.base.loading import Base
from loratory.objectives.qlora.memory.facts import longest_prompt
from loratory.objectives.records import Check
from loratory.spaces.errors import InputError
from loratory.spaces.study import StudySpec

_DECODING = ("cache", "decoding")
_CAUSAL = "no token of a text changes the logits of earlier ones"
_PACKED = "texts of several trials that stand in one row have the logits that each has alone"
_CACHED = "the cache of packs has the sizes of the base's keys and values"
_DECODED = "decoding through the cache of packs gives the logits of a full forward pass"
_UNPACKED = "on a GPU this takes at least twice the time of a pack of eight trials"
_COSTS = {
    Generation.PADDED: "K adapters take K times as long as one",
    Generation.ONE_LENGTH: "K adapters take K times as long as one, and only prompts of one length are "
    "answered together",
    Generation.WITHOUT_CACHE: "K adapters take K times as long as one, only prompts of one length are "
    "answered together, and each token of an answer takes as long as reading its whole prompt; a lower "
    "evaluation.max_new_tokens helps",
}


@dataclass(frozen=True, kw_only=True)
class Ways:
    """Ways of training and decoding a base.

    Attributes:
        generation: how transformers' `generate` decodes; None where our cache does, or nothing is decoded.
        checks: what was asked, with the results.
        notes: what the base cannot do and what that costs, as lines of text.
    """

    generation: Generation | None
    checks: tuple[Check, ...]
    notes: tuple[str, ...]

    def with_check(self, *checks: Check, note: str = "") -> "Ways":
        """Return the same with further checks, and with a note where there is one."""
        return replace(self, checks=(*self.checks, *checks), notes=(*self.notes, *([note] if note else [])))


class BaseProbe:
    """Asks a base for logits, first as transformers loaded it, and then as the engine computes them."""

    def __init__(self, base: Base, *, name: str, longest: int, decodes: bool) -> None:
        """Compute the logits of the base as it was loaded.

        Args:
            base: not yet changed by the engine.
            name: of the base, for messages.
            longest: tokens of the longest sequence that will ever be computed, see `longest_sequence`.
            decodes: whether answers are decoded.

        Raises:
            InputError: the base has no logits from tokens alone, none that are finite, only zeros, or is not
                causal.
        """
        self._name, self._decodes, self._padding_id = name, decodes, base.padding_id
        try:
            self._packing = PackingProbe(
                base.model,
                base.device,
                avoid=(*base.end_ids, base.padding_id),
                longest=longest,
            )
        except (ValueError, TypeError, RuntimeError, AttributeError, KeyError, NotImplementedError) as error:
            if isinstance(error, torch.AcceleratorError | torch.OutOfMemoryError):
                raise
            unquantized = "" if base.format is NONE else ", or set model.quantization to none"
            raise InputError(
                f"model.base: {name} must compute logits from tokens alone, got {type(error).__name__}: "
                f"{' '.join(str(error).split())[:200]}; take a causal language model for "
                f"text{unquantized}"
            ) from error
        if changed := self._packing.reference.changed:
            raise InputError(
                f"model.base: {name} must keep its weights, changes {len(changed)} matrices in a forward "
                f"pass ({changed[0]} ...); take another base"
            )
        self._check_causal(base)

    def _check_causal(self, base: Base) -> None:
        dtype = str(base.compute_dtype).removeprefix("torch.")
        if not self._packing.reference.finite:
            raise InputError(
                f"model.compute_dtype: must be one in which the logits of {self._name} are finite, in "
                f"{dtype} some are not; set another, or take a base whose weights are finite"
            )
        if self._packing.reference.all_zero:
            raise InputError(
                f"model.base: {self._name} must compute logits that differ, all are zero, as of weights that "
                "were never written; copy or download its files again"
            )
        change = self._packing.reference.why_not_causal(base.model, base.compute_dtype)
        if change is not None:
            raise InputError(
                f"model.base: {self._name} must be causal, but {change}: it sees what it should predict, as "
                "encoders such as BERT do; take a decoder"
            )

    def choose(self, model: PackedModel) -> Ways:
        """Choose ways of training and decoding that are right, the fastest first, and set `model` to them.

        Args:
            model: the base, prepared for packs.

        Raises:
            InputError: no way is right.
        """
        ways = Ways(generation=None, checks=(_passed("causal", _CAUSAL),), notes=())
        ways = self._choose_training(model, ways)
        if (untrained := self._packing.why_not_trained(model)) is not None:
            raise InputError(
                f"model.base: {self._name} must be trained through all of its linear layers, cannot "
                f"be: {untrained}; take another base"
            )
        return (
            self._choose_decoding(model, ways)
            if self._decodes
            else ways.with_check(*map(_unasked, _DECODING))
        )

    def _choose_training(self, model: PackedModel, ways: Ways) -> Ways:
        """Choose between concatenated sequences and rows apart."""
        packed = self._packing.why_not(model)
        if packed is None:
            return ways.with_check(_passed("packing", _PACKED))
        model.keep_rows_apart(alone=self._packing.depends_on_lengths)
        apart = self._packing.why_not_apart(model)
        if apart is not None:
            raise InputError(
                f"model.base: {self._name} must compute for several texts at once what it computes for each "
                f"alone; in one row: {packed}; in rows apart: {apart}; take another base"
            )
        found = f"trains one trial at a time: {packed}; {_UNPACKED}"
        return ways.with_check(_passed("packing", found), note=f"pack: {self._name} {found}")

    def _choose_decoding(self, model: PackedModel, ways: Ways) -> Ways:
        """Choose between our cache and transformers' `generate`."""
        cache = self._why_not_cached(model)
        if cache is None:
            return ways.with_check(_passed("cache", _CACHED), _passed("decoding", _DECODED))
        generation = self._choose_generation(model, cache)
        found = (
            f"is decoded by transformers' generate, one adapter after another: {cache}; {_COSTS[generation]}"
        )
        return replace(ways, generation=generation).with_check(
            Check(name="cache", passed=None, detail=f"not used: {cache}"),
            _passed("decoding", found),
            note=f"decoding: {self._name} {found}",
        )

    def _why_not_cached(self, model: PackedModel) -> str | None:
        """Return the reason why our cache does not serve the base; None if it does."""
        if not model.concatenates:
            return "it cannot be packed"
        reason = why_not_cached(model.model.config, self._packing.calls)
        if reason is not None:
            return reason
        wrong = self._decoding(model).why_not_cached()
        return (
            None
            if wrong is None
            else f"the cache of packs gives other logits than a full forward pass ({wrong})"
        )

    def _choose_generation(self, model: PackedModel, cache: str) -> Generation:
        """Choose the fastest way of `generate` that is right."""
        reasons = []
        ways: list[Generation] = list(Generation)[1 if self._packing.depends_on_lengths else 0 :]
        for generation in ways:
            wrong = self._decoding(model).why_not_generated(generation)
            if wrong is None:
                return generation
            reasons.append(f"with {generation.value}: {wrong}")
        raise InputError(
            f"model.base: {self._name} must be decoded right in some way, but {cache}, and transformers' "
            f"generate gives other logits than a full forward pass ({'; '.join(reasons)}); take another "
            "base, or set metric to loss and evaluation.metrics to [loss]"
        )

    def _decoding(self, model: PackedModel) -> DecodingProbe:
        return DecodingProbe(self._packing.reference, model, padding_id=self._padding_id)


def longest_sequence(study: StudySpec, data: PreparedData) -> int:
    """Return the most tokens of any sequence that a study computes, with the longest answer to come."""
    examples = max(int(split.lengths.max(initial=0)) for split in data.named_splits.values())
    return max(examples, longest_prompt(data) + study.evaluation.max_new_tokens)


def _passed(name: str, detail: str) -> Check:
    return Check(name=name, passed=True, detail=detail)


def _unasked(name: str) -> Check:
    return Check(name=name, detail="the study decodes nothing")
