"""Section `tracking` of the study file: trackers that show curves and results."""

from enum import StrEnum

from pydantic import Field, ValidationInfo, field_validator

from loratory.spaces.frozen import Frozen, Int
from loratory.spaces.recorded import is_recorded
from loratory.spaces.wandb_names import check_entity, check_project, check_tag


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
    """Project that the runs belong to; without `/`: a team is the `entity`."""
    entity: str | None = None
    """User or team; null takes the account's default."""
    tags: tuple[str, ...] = ()
    """Tags on every run, each of 1 to 64 characters."""
    prediction_rows: Int = Field(default=50, ge=0, le=10_000)
    """Predictions in the table of each run."""

    @field_validator("project")
    @classmethod
    def _legal_project(cls, name: str, info: ValidationInfo) -> str:
        if not is_recorded(info):
            check_project(name)
        return name

    @field_validator("entity")
    @classmethod
    def _legal_entity(cls, name: str | None, info: ValidationInfo) -> str | None:
        if name is not None and not is_recorded(info):
            check_entity(name)
        return name

    @field_validator("tags")
    @classmethod
    def _legal_tags(cls, tags: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for place, tag in enumerate(() if is_recorded(info) else tags):
            check_tag(tag, place)
        return tags


class TrackingSpec(Frozen):
    """Trackers. A failure of a tracker never fails a trial."""

    wandb: WandbSpec = WandbSpec()
    """Weights & Biases."""
    tensorboard: bool = False
    """Write TensorBoard event files into the study folder."""
