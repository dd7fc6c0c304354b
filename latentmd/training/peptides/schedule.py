"""Progress through a stage of training, and the learning rate along it."""

from __future__ import annotations

import math
import time


class Schedule:
    """Progress through a stage by wall time or by number of steps, whichever ends first.

    Args:
        seconds: wall time of the stage.
        steps: most steps.
    """

    def __init__(self, seconds: float, steps: int) -> None:
        self.seconds, self.steps, self.start, self.done = seconds, steps, time.monotonic(), 0

    def __iter__(self) -> Schedule:
        return self

    def __next__(self) -> float:
        """Fraction of the stage that is done; a step of optimisation follows."""
        fraction = max(self.spent / self.seconds, self.done / self.steps)
        if fraction >= 1:
            raise StopIteration
        self.done += 1
        return fraction

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.start

    def resume(self, seconds: float, steps: int) -> None:
        """Go on where an earlier session stood.

        Args:
            seconds: wall time that it spent on the stage.
            steps: that it did.
        """
        self.start, self.done = time.monotonic() - seconds, steps


def learning_rate(fraction: float, peak: float, warm: float = 0.03) -> float:
    """Linear rise over the first `warm` of a stage, then half a cosine to a hundredth of the peak.

    Args:
        fraction: of the stage that is done, 0 to 1.
        peak: largest learning rate.
        warm: fraction of the stage in which it rises.
    """
    if fraction < warm:
        return peak * (fraction + 1e-3) / warm
    return peak * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (fraction - warm) / (1 - warm))))
