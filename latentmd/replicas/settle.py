"""Settling: decoded structures brought to where MD of the force field is, by a short run of all of them together.

A decoder draws bond lengths, angles and torsions on their own, so that atoms of its structures may be too near and
energies are above those of MD. A few steps downhill take strain out, and a short run of Langevin dynamics puts the heat
of the temperature into every degree of freedom. Torsions move by some 20 degrees.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import openmm

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.molecule.checks import torsions
from latentmd.replicas.choice import replica_engine
from latentmd.replicas.replicas import Replicas
from latentmd.units import GAS_CONSTANT

STEPS, FRICTION = 100, 10.0  # of Langevin dynamics, and 1/ps
_SWING = np.deg2rad(10.0)  # of torsions that are held
_EASED = 20  # steps downhill of every structure
_ROUNDS, _DOWNHILL = 5, 100  # of minimisation of those above MD's energies, and most steps of each
_TOLERANCE = 10.0  # kJ/mol/nm, where a minimisation ends
_NORMAL = 3.0902  # standard normal quantile at 99.9 %


@dataclass(frozen=True)
class EnergyRange:
    """Potential energies that MD of a molecule shows, kJ/mol at 0.1, 50 and 99.9 %, and where they come from."""

    low: float
    median: float
    high: float
    source: str = "training data"

    @classmethod
    def of(cls, energies: Floats, source: str) -> EnergyRange:
        """Normal quantiles corrected for skewness (Cornish and Fisher, Rev. Inst. Int. Stat. 5, 307, 1938)."""
        mean, spread = float(np.mean(energies)), float(np.std(energies))
        skewness = float(np.mean((energies - mean) ** 3)) / max(spread, 1e-12) ** 3
        z = np.array([-_NORMAL, 0.0, _NORMAL])
        low, median, high = (mean + spread * (z + (z**2 - 1) * skewness / 6)).tolist()
        return cls(low, median, high, source)

    def above(self, energies: Floats) -> Bools:
        """Which energies are above the range, or not finite."""
        return np.asarray(~(energies <= self.high))

    def below(self, energies: Floats) -> Bools:
        """Which energies are below the range."""
        return np.asarray(energies < self.low)

    def far(self, energies: Floats) -> Bools:
        """Which energies are twice as far from the median as the ends of the range, where MD never is."""
        highest, lowest = 2 * self.high - self.median, 2 * self.low - self.median
        return np.asarray(~((energies >= lowest) & (energies <= highest)))


def settle(
    system: openmm.System,
    positions: Floats,
    *,
    energies: EnergyRange,
    temperature: float,
    timestep: float,
    seeds: Sequence[int],
    steps: int = STEPS,
    held: Ints | None = None,
) -> tuple[Doubles, Doubles]:
    """Positions (structures, atoms, 3) in nm, settled about their centres, each by its seed, and energies in kJ/mol.

    Torsions (torsions, 4) that are held swing by some ten degrees about where they were.
    """

    def engine_of(rows: Ints) -> Replicas:
        own, zeros = [seeds[k] for k in rows], [0] * len(rows)
        made = replica_engine(system, start[rows], temperature=temperature, seed=own, numbers=zeros, restraints=held)
        if held is not None and len(held):
            made.hold(torsions(positions[rows], held), GAS_CONSTANT * temperature / _SWING**2)
        return made

    start = np.array(positions, dtype=np.float64)
    engine = engine_of(np.arange(len(positions)))
    share = engine.masses / engine.masses.sum()
    centres = np.einsum("a,rad->rd", share, engine.positions)
    engine.minimize(_EASED, tolerance=_TOLERANCE)
    relaxed, found = engine.positions, engine.energies()
    for _ in range(_ROUNDS):
        strained = np.flatnonzero(energies.above(found))
        if not len(strained):
            break
        start = relaxed
        part = engine_of(strained)
        part.minimize(_DOWNHILL, tolerance=_TOLERANCE, enough=energies.median)
        relaxed[strained], found[strained] = part.positions, part.energies()
    engine.set_positions(relaxed)
    engine.draw_velocities()
    engine.langevin(steps, timestep=timestep, friction=FRICTION)
    moved = np.einsum("a,rad->rd", share, engine.positions) - centres
    engine.set_positions(engine.positions - moved[:, None])
    return engine.positions, engine.energies()


def measured_range(
    system: openmm.System, positions: Floats, *, temperature: float, timestep: float, seed: int, steps: int = 500
) -> EnergyRange:
    """Energies of MD from minimised (structures, atoms, 3) nm: `steps` left out, as many counted; time step in ps."""
    engine = replica_engine(system, positions, temperature=temperature, seed=seed)
    for _ in range(_ROUNDS):
        engine.minimize(_DOWNHILL, tolerance=_TOLERANCE)
    engine.draw_velocities()
    engine.langevin(steps, timestep=timestep, friction=FRICTION)
    found = []
    for _ in range(20):
        engine.langevin(steps // 20, timestep=timestep, friction=FRICTION)
        found.append(engine.energies())
    sound = np.array(found)[:, ~np.asarray(engine.broken())]
    return EnergyRange.of(sound, f"MD of {sound.shape[1]} structures, {2 * steps * timestep:g} ps each")
