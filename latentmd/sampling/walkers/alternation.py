"""Latent steps and MD by turns: how they and the frames saved fit into a cycle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from latentmd.model.manifest import Manifest, split_time
from latentmd.model.peptide_file import PeptideManifest
from latentmd.sampling.run.options import WalkerOptions
from latentmd.units import format_time

_CYCLE = 1000.0  # default length of a cycle, ps


@dataclass(frozen=True)
class Segment:
    """Part of a cycle, of so many ps; a frame may be saved at its end."""

    kind: Literal["latent", "md"]
    duration: float
    save: bool


def cycle_plan(length: float, burst: float, interval: float) -> list[Segment]:
    """Segments of one cycle: latent steps, the last of them shortened so that MD ends the cycle exactly. Times in ps.

    Example:
        >>> [(s.kind, s.duration) for s in cycle_plan(300.0, 2.0, 100.0)]
        [('latent', 100.0), ('latent', 100.0), ('latent', 98.0), ('md', 2.0)]
    """
    plan, now, turn = [], 0.0, length - burst
    for frame in range(1, round(length / interval) + 1):
        end = frame * interval
        if now < turn - 1e-9:
            step = min(end, turn)
            plan.append(Segment("latent", step - now, step > end - 1e-9))
            now = step
        if now < end - 1e-9:
            plan.append(Segment("md", end - now, True))
            now = end
    return plan


def cycle_length(s: WalkerOptions, manifest: Manifest | PeptideManifest, timestep: float) -> float:
    """Length of a cycle in ps: as asked for, or about 1 ns; the time step of the MD is in ps too.

    ValueError where the model has no step of a length that the cycle needs, or the MD in it is no number of time steps.
    """
    lags = f"{format_time(manifest.lag[0])} to {format_time(manifest.lag[1])}"
    try:
        split_time(s.interval, manifest.lag)
    except ValueError as error:
        raise ValueError(
            f"--save-every is {format_time(s.interval)}; the model's steps are {lags}: expected a multiple of a step "
            f"in that range, such as {format_time(manifest.lag[1])}"
        ) from error
    if s.mode == "latent":
        return s.interval
    cycle = s.cycle if s.cycle is not None else s.interval * max(1, round(min(_CYCLE, s.time) / s.interval))
    if abs(round(cycle / s.interval) * s.interval - cycle) > 1e-6 or cycle < s.interval * (1 - 1e-9):
        raise ValueError(
            f"--cycle is {format_time(cycle)}; expected a multiple of --save-every, {format_time(s.interval)}"
        )
    if not timestep <= s.burst < cycle:
        raise ValueError(f"--burst is {format_time(s.burst)}; expected less than the cycle, {format_time(cycle)}")
    if abs(round(s.burst / timestep) * timestep - s.burst) > 1e-6:
        raise ValueError(
            f"--burst is {format_time(s.burst)}; expected a multiple of the time step, {format_time(timestep)}"
        )
    for segment in cycle_plan(cycle, s.burst, s.interval):
        if segment.kind == "latent":
            try:
                split_time(segment.duration, manifest.lag)
            except ValueError as error:
                raise ValueError(
                    f"with --burst {format_time(s.burst)} the last latent step of a cycle would be "
                    f"{format_time(segment.duration)}; the model's steps are {lags}: change --burst"
                ) from error
    return cycle
