"""Monte Carlo moves of torsions in OpenMM's own replica exchange: block moves between stretches of MD.

Every stretch of OpenMM 8.6's `ReplicaExchangeSampler` is followed by moves of φ, ψ and both, accepted by Metropolis and
Hastings at the replica's temperature, so that basins behind high barriers are reached at the lowest temperature too.
"""

import numpy as np
from openmm import app

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.sampling.metropolis.blocks import BlockMove, TorsionKernels
from latentmd.sampling.metropolis.ladders import Plan
from latentmd.systems.builder import Protocol, build
from latentmd.systems.bundled import bundled
from latentmd.units import GAS_CONSTANT


class TorsionExchangeSampler(app.ReplicaExchangeSampler):
    """Replica exchange whose replicas also make block moves."""

    moves, rng, accepted, tried = (), np.random.default_rng(1), 0, 0

    def simulateReplica(self, index, steps=None):  # noqa: N802
        super().simulateReplica(index, steps)
        context = self.simulation.context
        kelvin = self.states[self.replicaStateIndex[index]]["temperature"]
        state = context.getState(positions=True, energy=True)
        x, energy = state.getPositions(asNumpy=True)._value, state.getPotentialEnergy()._value
        for move in self.moves:
            new, ratio, _ = move.propose(x[None], np.zeros(1, dtype=int), self.rng)
            context.setPositions(new[0])
            after = context.getState(energy=True).getPotentialEnergy()._value
            self.tried += 1
            if np.log(self.rng.random()) < (energy - after) / (GAS_CONSTANT * kelvin) + ratio[0]:
                x, energy, self.accepted = new[0], after, self.accepted + 1
        context.setPositions(x)
        context.setVelocitiesToTemperature(kelvin)  # velocities do not depend on positions: a draw changes nothing
        self.replicaConformation[index] = context.getState(
            positions=True, velocities=True, parameters=True, integratorParameters=True
        )


molecule = build(bundled("alanine_dipeptide"), Protocol(temperature=300.0))
plan = Plan.of(molecule, rotatable_torsions(*topology_arrays(molecule.topology)))
nearly_uniform = np.random.default_rng(2).uniform(-np.pi, np.pi, (1, 64, 4))  # any density gives the same answer
simulation = app.Simulation(molecule.topology, molecule.system, molecule.langevin(1))
simulation.context.setPositions(molecule.positions)
simulation.minimizeEnergy()
sampler = TorsionExchangeSampler([{"temperature": float(t)} for t in plan.temperatures], simulation, 100)
drawn = [block for block in plan.blocks if block.kind == "draw"]
densities = [TorsionKernels(nearly_uniform[:, :, list(block.torsions)], 1.0) for block in drawn]
sampler.moves = [BlockMove(b, plan.torsions, q) for b, q in zip(drawn, densities, strict=True)]
coldest = []
sampler.reporters.append(lambda s: coldest.append(s.replicaConformation[s.replicaStateIndex.index(0)]))
sampler.simulate(40)
phi = plan.torsions.angles(np.array([state.getPositions(asNumpy=True)._value for state in coldest]))[:, 1]
positive = 100 * np.mean(phi > 0)
print(f"{sampler.accepted} of {sampler.tried} moves accepted; φ > 0 in {positive:.1f} % of the frames at 300 K")
