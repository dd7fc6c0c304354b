"""Settings of the rounds of a hybrid run, in frames."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from latentmd.sampling.hybrid.convergence import Criteria


@dataclass(frozen=True)
class RoundSettings:
    """Settings of a hybrid run; times are in frames of the engine's interval unless they say ps or seconds.

    Attributes:
        seed: with round and task numbers, decides all randomness.
        starts: bursts per round.
        relaxation: first frames of a burst, discarded: longer than a start takes to forget how it was made.
        lag: of the Markov model.
        frames: of a burst, relaxation included; more than twice relaxation and lag together, so that doubling both
            can be tried.
        cells: most cells of configuration space.
        candidates: structures that the surrogate proposes for each start that it may propose.
        proposals: share of the starts, if any, that the surrogate may propose; the rest is plain adaptive sampling.
        precise: share of the starts that go to cells without a path there and back and, once there are none, where a
            burst lowers the standard errors of the states' free energies most; the rest goes to the least-visited ones.
        growth: data grows by this factor between two reviews of the statistics.
        refine: the surrogate is refined once its error on new bursts exceeds that after the last training by this
            factor; None never refines it.
        agreement: reviews in a row that must find nothing missing.
        time: budget of simulated time in ps, all walkers together, relaxation included; None for no limit.
        wall: budget of wall time in seconds, over all sessions of the run; None for no limit.
        criteria: of convergence.

    Raises:
        ValueError: a number is out of its range.
    """

    seed: int = 0
    starts: int = 16
    relaxation: int = 10
    lag: int = 10
    frames: int = 100
    cells: int = 100
    candidates: int = 8
    proposals: float = 1.0
    precise: float = 0.5
    growth: float = 1.5
    refine: float | None = 1.5
    agreement: int = 2
    time: float | None = None
    wall: float | None = None
    criteria: Criteria = field(default_factory=Criteria)

    def __post_init__(self) -> None:
        counts = {"starts": 2, "relaxation": 0, "lag": 1, "cells": 2, "candidates": 1, "agreement": 1}
        for name, least in counts.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; expected at least {least}")
        if self.frames <= 2 * (self.relaxation + self.lag):
            raise ValueError(
                f"bursts of {self.frames} frames are too short for a relaxation time of {self.relaxation} and a lag of "
                f"{self.lag}; expected more than {2 * (self.relaxation + self.lag)}, so that both can be doubled"
            )
        for name in ("proposals", "precise"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share between 0 and 1")
        if self.growth <= 1:
            raise ValueError(f"growth is {self.growth}; expected a factor above 1")
        for name in ("time", "wall"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise ValueError(f"{name} is {value}; expected a positive number, or None for no limit")

    def identity(self) -> dict[str, Any]:
        """Settings that must be equal for a run to be resumed: all but budgets and convergence, which may be changed.

        What counts as connected decides where bursts start, and stays.
        """
        values = {**asdict(self), "connected": self.criteria.connected}
        for name in ("time", "wall", "criteria", "agreement"):
            del values[name]
        return values
