"""Section `tracking` of the study file: trackers that show curves and results."""

from enum import StrEnum

from pydantic import Field

from loratory.spaces.frozen import Frozen, Int


class WandbMode(StrEnum):
    """Destination of W&B runs: a server, the disk, or none."""

    AUTO = "auto"
    ONLINE = "online"
    OFFLINE = "offline"
    OFF = "off"


class WandbSpec(Frozen):
    """Weights & Biases: one run per trial, grouped by study."""

    mode: WandbMode = WandbMode.AUTO
    """auto is online if an API key is found, else offline."""
    project: str = "loratory"
    """Project that the runs belong to."""
    entity: str | None = None
    """User or team; null takes the account's default."""
    tags: tuple[str, ...] = ()
    """Tags on every run."""
    prediction_rows: Int = Field(default=50, ge=0, le=10_000)
    """Predictions in the table of each run."""


class TrackingSpec(Frozen):
    """Trackers. A failure of a tracker never fails a trial."""

    wandb: WandbSpec = WandbSpec()
    """Weights & Biases."""
    tensorboard: bool = False
    """Write TensorBoard event files into the study folder."""
