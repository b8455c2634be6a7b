"""The hyperparameters of one trial. Each can be fixed or searched."""

from enum import StrEnum
from typing import Annotated, Any

from pydantic import Field

from loratory.spaces.frozen import Float, Frozen, Int


class Schedule(StrEnum):
    """Learning rate by update: a linear warm-up, then a cosine, a straight line or a constant.

    The first three are those of transformers' `get_scheduler` (`constant` is its `constant_with_warmup`), so
    that Trainer, TRL and Axolotl train with the same rates: a warm-up starts at a rate of zero and takes
    `warmup` of the updates, rounded up. The update at a rate of zero leaves the weights as they are; the
    moments of AdamW take its gradient in.

    Those with a nonzero start are loratory 0.1.0's, which a study that began with it keeps: a warm-up of W
    updates starts at 1 / (W + 1) of the peak rate, and W is rounded to the nearest number. Without a warm-up
    they equal the others.
    """

    COSINE = "cosine"
    LINEAR = "linear"
    CONSTANT = "constant"
    COSINE_NONZERO_START = "cosine_nonzero_start"
    LINEAR_NONZERO_START = "linear_nonzero_start"
    CONSTANT_NONZERO_START = "constant_nonzero_start"


class OptimizerName(StrEnum):
    """Optimiser of an adapter's matrices."""

    ADAMW = "adamw"
    LORA_PLUS = "lora_plus"


class TrainingParameters(Frozen):
    """Hyperparameters of one trial, sampled and fixed values merged.

    The optimiser is AdamW (Loshchilov and Hutter, 2019) with betas 0.9 and 0.999 and epsilon 1e-8, the
    adapters are LoRA (Hu et al., 2021).
    """

    learning_rate: Float = Field(default=2e-4, gt=0, le=1)
    """Peak learning rate of AdamW; with lora_plus, of the matrices A."""
    optimizer: OptimizerName = OptimizerName.ADAMW
    """adamw has one learning rate; lora_plus has a larger one for the matrices B (Hayou et al., 2024)."""
    lora_plus_ratio: Float = Field(default=16.0, gt=0, le=65_536)
    """Ratio of the learning rates of the matrices B and A (optimizer lora_plus)."""
    batch_size: Int = Field(default=16, ge=1, le=65_536)
    """Examples per optimiser step; reached by accumulating passes."""
    epochs: Float = Field(default=1.0, gt=0, le=1000)
    """Epochs over the training examples; may be a fraction."""
    rank: Int = Field(default=16, ge=1, le=1024)
    """Rank r of the LoRA matrices."""
    alpha: Annotated[Float, Field(gt=0, le=65_536)] | None = None
    """LoRA scaling numerator; null means twice the rank."""
    rank_stabilized: bool = False
    """Scale by alpha / sqrt(rank) (rsLoRA; Kalajdzievski, 2023) instead of alpha / rank."""
    dropout: Float = Field(default=0.05, ge=0, lt=1)
    """Probability that an input feature of an adapter is dropped in training."""
    target_modules: str | tuple[str, ...] = "all-linear"
    """`all-linear`, or names of the linear layers that get an adapter (`q_proj`, `v_proj`, ...)."""
    schedule: Schedule = Schedule.COSINE
    """Learning rate by update: `cosine`, `linear` or `constant` after the warm-up, as in transformers."""
    warmup: Float = Field(default=0.05, ge=0, lt=1)
    """Share of the optimiser steps in which the learning rate rises linearly from zero, rounded up to whole
    steps; a trial of one step has no warm-up."""
    weight_decay: Float = Field(default=0.0, ge=0, le=10)
    """Decoupled weight decay on the adapter's weights."""
    max_grad_norm: Annotated[Float, Field(gt=0)] | None = 1.0
    """Gradients are clipped to this global norm; null turns clipping off."""

    @property
    def lora_alpha(self) -> float:
        """LoRA scaling numerator, with the default filled in."""
        return 2.0 * self.rank if self.alpha is None else self.alpha

    def described(self) -> dict[str, Any]:
        """Return the hyperparameters for readers, as JSON: with defaults, without unused ones."""
        values = self.model_dump(mode="json") | {"alpha": self.lora_alpha}
        if self.optimizer is not OptimizerName.LORA_PLUS:
            del values["lora_plus_ratio"]
        return values
