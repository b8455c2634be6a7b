"""Training of the best settings again, on new seeds, after the search."""

from pydantic import Field

from loratory.spaces.frozen import Frozen, Int


class ConfirmationSpec(Frozen):
    """Numbers of settings that are trained again, and of new seeds per setting."""

    top: Int = Field(default=3, ge=1, le=100)
    """Settings that are trained again: those of the best trials on eval.select."""
    seeds: Int = Field(default=5, ge=1, le=100)
    """Trainings of each of them, each on a new seed."""

    @property
    def runs(self) -> int:
        """Number of trainings."""
        return self.top * self.seeds
