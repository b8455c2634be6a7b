"""Whose turn it is on the device: the passes of training, or the copies that wait for their scores."""

# A copy waits so many passes for others to be scored with it, as long as its trial can train on.
_MOST_PASSES_WAITED = 16


class Turns:
    """Lets copies gather while trials can train, then scores them until none is left.

    A few large batches decode faster than many small ones, and while all trials go on nothing is lost by
    waiting: what a trial does meanwhile is thrown away only where its evaluation ends it.
    """

    def __init__(self, *, gathers: bool) -> None:
        """Begin with training.

        Args:
            gathers: whether decoding together is faster here; where it is not, nothing waits.
        """
        self._gathers = gathers
        self._scoring, self._passes = False, 0

    def trained(self) -> None:
        """Count a pass of training."""
        self._passes += 1

    def scores(self, *, waiting: int, training: int, ready: int, urgent: bool) -> bool:
        """Whether the next piece of work is one of scoring.

        Args:
            waiting: copies without scores.
            training: trials that have a slot.
            ready: those of them that can go on.
            urgent: whether there is no point in waiting for more copies.
        """
        if not waiting:
            self._scoring, self._passes = False, 0
            return False
        late = not self._gathers or self._passes >= _MOST_PASSES_WAITED
        self._scoring = self._scoring or urgent or late or not ready or 2 * waiting >= training
        return self._scoring
