"""Facts of a base and the workload of a study, from which memory and time are predicted."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from loratory.objectives.data.prepared import PreparedData
from loratory.objectives.packing.decoding.cache import CacheSizes
from loratory.objectives.qlora.base.formats import format_of
from loratory.objectives.qlora.base.reference import BaseReference
from loratory.objectives.qlora.base.skeleton import build_skeleton
from loratory.objectives.qlora.memory.dry_pass import ActivationCurve, PassActivations, pass_activations
from loratory.objectives.qlora.memory.engine_size import StackSize
from loratory.spaces.model import ModelSpec
from loratory.spaces.study import StudySpec

# With 4 of 32 trials at once TPE came within 2.4% of the best point, with 16 no nearer than random points.
_TRIALS_PER_SLOT = 6
MEAN_SHARE_OF_ANSWER = 0.5
"""Length of the mean answer, as a share of the longest: a guess, since no answer was seen."""
_GUESSED_LAYER_WIDTHS = 40  # tensors of a layer, in widths of the residual stream, where a dry pass fails


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts of a base in a format and a compute dtype, from its configuration.

    Attributes:
        linear_numbers: weights of the linear layers that the format stores.
        other_numbers: all other weights: embeddings, norms, head.
        head_numbers: weights of the output head, which a pass multiplies too.
        base_bytes: memory of the base as it is stored.
        held_bytes: memory of the dequantised linear layers; 0 where there is nothing to dequantise.
        largest_matrix_bytes: the largest linear layer in the compute dtype.
        compute_bytes: bytes of a number in the compute dtype.
        layers: layers of the model.
        width: of the residual stream.
        vocabulary: token ids.
        cache: sizes of keys and values; None where the configuration has no one size.
        activations: of passes.
        counted: whether they come from a dry pass, or are a guess.
    """

    linear_numbers: int
    other_numbers: int
    head_numbers: int
    base_bytes: int
    held_bytes: int
    largest_matrix_bytes: int
    compute_bytes: int
    layers: int
    width: int
    vocabulary: int
    cache: CacheSizes | None
    activations: PassActivations
    counted: bool = True


@dataclass(frozen=True, kw_only=True)
class Workload:
    """Sizes of a study's trials and data, as a worker meets them.

    Attributes:
        trials: number of trials.
        numbers_per_slot: numbers of an adapter of the largest rank.
        wide: bytes of a master weight.
        smallest_batch: examples in the smallest optimiser batch of any trial.
        largest_batch: examples in the largest.
        mean_tokens: mean length of training examples.
        longest_tokens: length of the longest training example.
        longest_prompt: length of the longest decoded prompt.
        mean_prompt: mean length of decoded prompts.
        max_new_tokens: longest answer.
        prompts: most prompts that one copy of an adapter brings.
        trained_tokens: tokens that an average trial trains on.
        decoded_prompts: prompts that a whole trial decodes; 0 where nothing is decoded.
        sampler_slots: most slots per worker with which the sampler sees enough scores; None: any number.
    """

    trials: int
    numbers_per_slot: int
    wide: int
    smallest_batch: float
    largest_batch: float
    mean_tokens: float
    longest_tokens: int
    longest_prompt: int
    mean_prompt: float
    max_new_tokens: int
    prompts: int
    trained_tokens: float
    decoded_prompts: int
    sampler_slots: int | None = None


def model_facts(
    model: ModelSpec,
    reference: BaseReference,
    configuration: Any,
    stack: StackSize,
    *,
    dtype: torch.dtype,
    longest: int,
    skeleton: Any | None = None,
) -> ModelFacts:
    """Return the facts of a base, from models on the meta device.

    Args:
        model: the study's model section.
        reference: the base.
        configuration: its transformers configuration.
        stack: sizes of the study's adapters.
        dtype: compute dtype.
        longest: tokens of the longest sequence.
        skeleton: the base on the meta device, if it is there; None builds it.

    Raises:
        InputError: the configuration is not that of a language model with sizes.
    """
    skeleton = build_skeleton(configuration, reference) if skeleton is None else skeleton
    head = skeleton.get_output_embeddings()
    linear = [m for m in skeleton.modules() if isinstance(m, torch.nn.Linear) and m is not head]
    names = [
        n for n, m in skeleton.named_modules() if n in stack.layers and not isinstance(m, torch.nn.Linear)
    ]
    sizes = [m.in_features * m.out_features for m in linear]
    sizes += [stack.layers[name][0] * stack.layers[name][1] for name in names]  # GPT-2's Conv1D
    total = sum(p.numel() for p in skeleton.parameters())
    text, compute = configuration.get_text_config(), dtype.itemsize
    stored = format_of(model.quantization).bytes_per_weight(model, compute)
    activations, counted = _activations(reference, configuration, stack, dtype=dtype, longest=longest)
    numbers = sum(sizes)
    return ModelFacts(
        linear_numbers=numbers,
        other_numbers=total - numbers,
        head_numbers=head.weight.numel(),
        base_bytes=round(numbers * stored + (total - numbers) * compute),
        held_bytes=numbers * compute if stored < compute else 0,
        largest_matrix_bytes=max(sizes) * compute,
        compute_bytes=compute,
        layers=text.num_hidden_layers,
        width=text.hidden_size,
        vocabulary=head.weight.shape[0],
        cache=_cache_sizes(configuration),
        activations=activations,
        counted=counted,
    )


def _activations(
    reference: BaseReference, configuration: Any, stack: StackSize, *, dtype: torch.dtype, longest: int
) -> tuple[PassActivations, bool]:
    """Return the activations of passes, and whether they were counted, not guessed."""
    try:
        build = lambda given: build_skeleton(given, reference)  # noqa: E731
        return pass_activations(build, configuration, stack, dtype=dtype, longest=longest), True
    except Exception:  # models run code of their own, which may read numbers or refuse the device
        return _guessed(configuration.get_text_config(), dtype.itemsize), False


def _guessed(text: Any, compute: int) -> PassActivations:
    per_layer = _GUESSED_LAYER_WIDTHS * text.hidden_size * compute
    head = 4 * text.vocab_size

    def curve(per_token: int) -> ActivationCurve:
        return ActivationCurve(((0, 0), (1024, 1024 * per_token)))

    layers = text.num_hidden_layers
    return PassActivations(
        training=curve(layers * per_layer + head),
        checkpointed=curve(layers * text.hidden_size * compute + per_layer + head),
        forward=curve(per_layer + head),
    )


def _cache_sizes(configuration: Any) -> CacheSizes | None:
    try:
        return CacheSizes.of(configuration)
    except Exception:  # transformers has errors of its own for sizes that differ between layers
        return None


def workload(study: StudySpec, data: PreparedData, stack: StackSize, *, dtype: torch.dtype) -> Workload:
    """Return the workload of a study with its data."""
    splits = data.splits.values()
    return _workload(
        study,
        stack,
        dtype=dtype,
        train_examples=len(data.train),
        mean_tokens=int(data.train.lengths.sum()) / len(data.train),
        longest_tokens=int(data.train.lengths.max()),
        longest_prompt=longest_prompt(data),
        mean_prompt=_mean_prompt(data),
        prompts=max(map(len, splits)),
        dev=len(data.dev),
        select=len(data.select),
    )


def workload_without_data(
    study: StudySpec,
    stack: StackSize,
    *,
    dtype: torch.dtype,
    max_length: int,
    train_examples: int,
    dev_examples: int,
    select_examples: int,
) -> Workload:
    """Return the workload of a study of which only the numbers of examples are known.

    Every sequence counts as `max_length` tokens, and every prompt as those beside the longest answer.
    """
    return _workload(
        study,
        stack,
        dtype=dtype,
        train_examples=train_examples,
        mean_tokens=max_length,
        longest_tokens=max_length,
        longest_prompt=max(1, max_length - study.evaluation.max_new_tokens),
        mean_prompt=max(1, max_length - study.evaluation.max_new_tokens),
        prompts=max(1, dev_examples, select_examples),
        dev=dev_examples,
        select=select_examples,
    )


def _workload(
    study: StudySpec,
    stack: StackSize,
    *,
    dtype: torch.dtype,
    train_examples: int,
    mean_tokens: float,
    longest_tokens: int,
    longest_prompt: int,
    mean_prompt: float,
    prompts: int,
    dev: int,
    select: int,
) -> Workload:
    batches = [float(size) for size in study.extremes_of("batch_size")]
    epochs = [float(number) for number in study.extremes_of("epochs")]
    decoded = study.evaluation.evaluations * dev + select if study.metrics else 0
    return Workload(
        trials=study.trials,
        numbers_per_slot=stack.numbers_per_slot,
        wide=max(4, dtype.itemsize),
        smallest_batch=min(batches),
        largest_batch=max(batches),
        mean_tokens=mean_tokens,
        longest_tokens=longest_tokens,
        longest_prompt=longest_prompt,
        mean_prompt=mean_prompt,
        max_new_tokens=study.evaluation.max_new_tokens,
        prompts=prompts,
        trained_tokens=train_examples * mean_tokens * (min(epochs) + max(epochs)) / 2,
        decoded_prompts=decoded,
        sampler_slots=slots_for_sampler(study),
    )


def slots_for_sampler(study: StudySpec) -> int | None:
    """Return how many slots a worker may have so that a sampler learns: a sixth of the trials in all of them.

    None where a sampler draws at random anyway, to the end or for as many trials as there are.
    """
    drawn = study.sampler.random_trials
    if drawn is None or study.trials <= drawn:
        return None
    return max(1, study.trials // (_TRIALS_PER_SLOT * (study.resources.workers or 1)))


def longest_prompt(data: PreparedData) -> int:
    """Return the length of the longest decoded prompt, in tokens."""
    splits = data.splits.values()
    return max(int(split.prompt_lengths.max(initial=0)) for split in splits)


def _mean_prompt(data: PreparedData) -> float:
    """Return the mean length of decoded prompts, in tokens."""
    lengths = np.concatenate([split.prompt_lengths for split in data.splits.values()])
    return float(lengths.mean()) if len(lengths) else 1.0
