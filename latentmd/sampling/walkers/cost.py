"""What plain MD costs on this machine, by a short timing, and how it is laid out where wall time allows only little."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from latentmd.sampling.walkers.jobs import replica_rate
from latentmd.sampling.walkers.plan import multiple
from latentmd.units import format_time, format_wall

if TYPE_CHECKING:
    from latentmd.sampling.run.options import WalkerOptions
    from latentmd.sampling.run.preparation import Prepared

_TIMING = 0.3  # seconds
_LANES = 16  # walkers that the replica kernel moves together
_SIMULATED = 0.7  # share of the wall time that is left for MD: the rest prepares, draws and writes
_EQUILIBRATED = 0.05  # share of the affordable time, at most
_FRAMES = 100  # wanted of each walker
_INTERVALS = (100.0, 50.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1)  # ps
_SHORT = 60.0  # seconds of MD that need no announcement


@dataclass(frozen=True)
class Cost:
    """Speed of plain MD here: ps per second of wall time of all walkers together, and how many move at once."""

    rate: float
    at_once: int

    @classmethod
    def measured(cls, prepared: Prepared, settings: WalkerOptions, processes: int, replicas: bool) -> Cost:
        """Time one core of the replica kernel, which moves several walkers, or take the timing of OpenMM."""
        timestep = prepared.molecule.protocol.timestep
        if not replicas:
            return cls(prepared.rate * timestep * processes, processes)
        lanes = min(_LANES, -(-settings.walkers // processes))
        rate = replica_rate(prepared.molecule, prepared.reference, _TIMING, lanes)
        return cls(rate * timestep * processes, settings.walkers)

    def affordable(self, wall: float) -> float:
        """Time of each walker that moves, in ps, that so many seconds of wall time pay for."""
        return self.rate * wall * _SIMULATED / self.at_once

    def sentence(self, settings: WalkerOptions) -> str:
        """What the run will cost; empty where it is short."""
        total = settings.walkers * settings.time
        seconds = total / self.rate
        told = (
            f"plain MD of {format_time(total)} ({settings.walkers} walkers of {format_time(settings.time)}) takes "
            f"about {format_wall(seconds)} here, at {86.4 * self.rate:.3g} ns/day"
        )
        if settings.wall is not None and settings.wall < seconds:
            made = self.affordable(settings.wall) * min(self.at_once, settings.walkers)
            return (
                f"{told}; it ends after {format_wall(settings.wall)} with about {format_time(float(f'{made:.2g}'))}. "
                "Set other limits with --time and --wall; --resume goes on"
            )
        return told if seconds > _SHORT else ""


def laid_out(settings: WalkerOptions, cost: Cost, timestep: float, begun_with: dict[str, Any] | None) -> WalkerOptions:
    """Settings with closer frames and less equilibration where the wall time would end before there are many frames.

    A resumed run keeps the layout of its first session, whose request is `begun_with`. The time step is in ps.
    """
    if begun_with is not None:
        interval, equilibration = begun_with.get("save every"), begun_with.get("equilibration")
        return replace(
            settings,
            interval=interval if interval and settings.closer else settings.interval,
            equilibration=equilibration or settings.equilibration,
        )
    if settings.wall is None:
        return settings
    affordable = cost.affordable(settings.wall)
    steps = max(1, round(min(settings.equilibration, _EQUILIBRATED * affordable) / timestep))
    interval = settings.interval
    if settings.closer:
        fitting = [t for t in _INTERVALS if t <= interval and multiple(t, timestep) and multiple(settings.time, t)]
        interval = next((t for t in fitting if t * _FRAMES <= affordable), fitting[-1] if fitting else interval)
    return replace(settings, interval=interval, equilibration=steps * timestep)
