"""One simulation of a molecule in a box of water at constant pressure, with a bias, jumps or neither, by segments.

Every segment starts the Context afresh from positions, velocities and box, with seeds of its own, so that one that was
interrupted, in the middle of a jump or not, is made again from its beginning: to the last bit on the CPU platform with
one thread.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import numpy as np
import openmm
from openmm import app, unit

from latentmd.arrays import Floats, Ints
from latentmd.integrators.torsion_bias import TorsionBias
from latentmd.integrators.torsion_blocks import TorsionBlock
from latentmd.integrators.torsion_jumps import Jump, TorsionJumps
from latentmd.sampling.run.preparation import Arrays, Prepared
from latentmd.systems.dynamics import advance

PRESSURE, EVERY = 1.0, 25  # bar; steps between moves of the barostat
FRAME = 1.0  # ps of MD between frames
_MINIMISER_STEPS = 500


@dataclass
class Stint:
    """Frames of the solute in nm, each (atoms, 3), of all atoms where wanted, with the logarithms of their weights,
    jumps, and steps with those of jumps.
    """

    positions: list[Floats] = field(default_factory=list)
    log_weights: list[float] = field(default_factory=list)
    whole: list[Floats] = field(default_factory=list)
    boxes: list[Floats] = field(default_factory=list)
    jumps: list[Jump] = field(default_factory=list)
    steps: int = 0

    def arrays(self) -> dict[str, object]:
        """What an npz file keeps of it."""
        made = {"frames": np.array(self.positions), "whole": np.array(self.whole), "boxes": np.array(self.boxes)}
        made["log_weights"] = np.array(self.log_weights)
        return {**made, "steps": self.steps, "jumps": json.dumps([asdict(jump) for jump in self.jumps])}


class Walk:
    """A simulation that jumps the torsions of `blocks`, and biases those of `biased` by their tables above some kT."""

    def __init__(
        self,
        prepared: Prepared,
        solute: Ints,
        blocks: Sequence[TorsionBlock] = (),
        seed: int = 0,
        *,
        biased: Sequence[TorsionBlock] = (),
        above: float = 0.0,
    ) -> None:
        molecule, self.solute = prepared.molecule, solute
        system, kelvin = copy.deepcopy(molecule.system), molecule.protocol.temperature
        self.barostat = openmm.MonteCarloBarostat(PRESSURE * unit.bar, kelvin * unit.kelvin, EVERY)
        system.addForce(self.barostat)
        self.bias = TorsionBias(system, biased, kelvin, above=above) if biased else None
        self.jumps = TorsionJumps(system, blocks, seed=seed) if blocks else None
        exact = {"Threads": str(prepared.threads), "DeterministicForces": "true"}
        properties = exact if prepared.platform == "CPU" else {}
        platform = openmm.Platform.getPlatformByName(prepared.platform)
        self.simulation = app.Simulation(molecule.topology, system, molecule.langevin(seed), platform, properties)
        self.timestep = molecule.protocol.timestep

    def equilibrate(self, start: Floats, seed: int, steps: int, stopped: Callable[[], bool]) -> bool:
        """Minimise from a structure (atoms, 3) in nm, draw velocities and move; whether there was time for all."""
        context = self.simulation.context
        context.setPositions(start)
        self.simulation.minimizeEnergy(maxIterations=_MINIMISER_STEPS)
        context.setVelocitiesToTemperature(self.simulation.integrator.getTemperature(), seed)
        return advance(self.simulation.step, steps, stopped)

    def begin(self, place: Arrays, seed: int) -> None:
        """Start afresh at a place, with noise of its own."""
        context = self.simulation.context
        self.simulation.integrator.setRandomNumberSeed(seed + 1)  # 0 would ask for a random one
        self.barostat.setRandomNumberSeed(seed + 1)
        context.reinitialize()
        context.setPeriodicBoxVectors(*place["box"])
        context.setPositions(place["positions"])
        context.setVelocities(place["velocities"])

    def place(self) -> Arrays:
        """Positions in nm, velocities in nm/ps and box vectors in nm."""
        state = self.simulation.context.getState(positions=True, velocities=True)
        found = state.getPositions(asNumpy=True), state.getVelocities(asNumpy=True), state.getPeriodicBoxVectors(True)
        return dict(zip(("positions", "velocities", "box"), (np.array(value._value) for value in found), strict=True))

    def move(self, piece: Stint, interval: float = FRAME, whole: bool = False) -> None:
        """MD up to the next frame, so many ps away; `whole` keeps the water too."""
        steps = round(interval / self.timestep)
        self.simulation.step(steps)
        piece.steps += steps
        state = self.simulation.context.getState(positions=True)
        positions = np.asarray(state.getPositions(asNumpy=True)._value, dtype=np.float32)
        piece.positions.append(positions[self.solute])
        piece.log_weights.append(0.0 if self.bias is None else self.bias.log_weight(self.simulation.context))
        if whole:
            piece.whole.append(positions)
            piece.boxes.append(np.asarray(state.getPeriodicBoxVectors(True)._value, dtype=np.float32))

    def jump(self, piece: Stint) -> None:
        """Try a jump, where this simulation has any."""
        if self.jumps is not None:
            before = self.jumps.steps
            piece.jumps.append(self.jumps.jump(self.simulation))
            piece.steps += self.jumps.steps - before
