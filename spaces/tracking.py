"""Where curves and results are shown beside the report."""

from enum import StrEnum

from pydantic import Field

from loratory.spaces.frozen import Frozen, Int


class WandbMode(StrEnum):
    """Whether runs go to a W&B server or to disk."""

    AUTO = "auto"
    ONLINE = "online"
    OFFLINE = "offline"
    OFF = "off"


class WandbSpec(Frozen):
    """Weights & Biases: one run a trial, grouped by study."""

    mode: WandbMode = WandbMode.AUTO
    """auto is online where an API key is found, else offline."""
    project: str = "loratory"
    """Project that the runs belong to."""
    entity: str | None = None
    """User or team; null takes the account's default."""
    tags: tuple[str, ...] = ()
    """Tags on every run."""
    prediction_rows: Int = Field(default=50, ge=0, le=10_000)
    """Predictions in each run's table."""


class TrackingSpec(Frozen):
    """Trackers; a tracker that fails never fails a trial."""

    wandb: WandbSpec = WandbSpec()
    """Weights & Biases."""
    tensorboard: bool = False
    """Write TensorBoard event files into the study folder."""
