"""The warm-up of a pack: CUDA graphs are captured as shapes come up, and no capture is to be timed."""

from collections.abc import Callable, Hashable, Iterable

_MOST_PASSES = 60


def warm_up(
    advance: Callable[[], None],
    *,
    enough: Callable[[], bool],
    captured: Callable[[], Iterable[Hashable]] | None,
    quiet_passes: int,
) -> int:
    """Make passes until enough steps are made and no graph has been captured for a while.

    With lengths that differ, new shapes may come up now and then for ever: the wait ends at 60 passes.

    Args:
        advance: makes a pass.
        enough: whether all steps of the warm-up are made.
        captured: names of the graphs that there are; None where nothing is captured.
        quiet_passes: number of passes without a capture that ends the warm-up.

    Returns:
        Passes made.
    """
    passes = quiet = 0
    known = set(captured() if captured else ())
    while not (enough() and (captured is None or quiet >= quiet_passes or passes >= _MOST_PASSES)):
        advance()
        passes += 1
        now = set(captured() if captured else ())
        quiet = 0 if now - known else quiet + 1
        known = now
    return passes
