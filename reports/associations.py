"""Which searched parameters are associated with good trials, as data for every view."""

from loratory.spaces.frozen import Frozen


class Association(Frozen):
    """Association of one parameter with good trials."""

    parameter: str
    """Name of the parameter."""
    divergence: float
    """How much its values among the best trials differ from those of all trials."""
    p: float
    """Chance of such a divergence in any parameter if none mattered, adjusted for all of them."""
    shown: bool
    """True if p is at most 0.05."""


class Importance(Frozen):
    """Parameters whose values among the best trials differ from those of all trials."""

    associations: tuple[Association, ...] = ()
    """Every searched parameter, the smallest p first; empty with too few trials."""
    trials: int = 0
    """Number of trials that were compared."""
    note: str
    """Method and number of trials; with too few trials why there is no association."""

    @property
    def shown(self) -> tuple[Association, ...]:
        """Associations that chance alone would hardly give."""
        return tuple(found for found in self.associations if found.shown)

    @property
    def not_shown(self) -> tuple[Association, ...]:
        """All others."""
        return tuple(found for found in self.associations if not found.shown)
