"""Torsion jumps in OpenMM's own replica exchange: alanine dipeptide in 250 waters at three temperatures.

Every stretch of OpenMM 8.6's `ReplicaExchangeSampler` ends in a jump of (φ, ψ) at the replica's temperature: steered
while the water follows, and accepted by the work.
"""

from pathlib import Path

import openmm
from openmm import app, unit
from solvent.solvated import solvated

from latentmd.integrators import TorsionJumps
from latentmd.integrators.torsion_blocks import backbone_blocks


class JumpExchangeSampler(app.ReplicaExchangeSampler):
    """Replica exchange whose replicas also jump."""

    jumps: TorsionJumps

    def simulateReplica(self, index, steps=None):  # noqa: N802
        super().simulateReplica(index, steps)
        self.jumps.jump(self.simulation)
        self.replicaConformation[index] = self.simulation.context.getState(
            positions=True, velocities=True, parameters=True, integratorParameters=True
        )


path = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"
topology, system, positions = solvated(path, 250, 300.0, cutoff=0.7)
system.removeForce(system.getNumForces() - 1)  # the barostat: exchange is at constant volume here
jumps = TorsionJumps(system, backbone_blocks(topology), length=0.4, seed=1)  # 10 to 20 ps where they are to be accepted
integrator = openmm.LangevinMiddleIntegrator(300 * unit.kelvin, 1 / unit.picosecond, 4 * unit.femtosecond)
simulation = app.Simulation(topology, system, integrator, openmm.Platform.getPlatformByName("CPU"))
simulation.context.setPositions(positions)
simulation.minimizeEnergy(maxIterations=200)
sampler = JumpExchangeSampler([{"temperature": kelvin} for kelvin in (300.0, 305.0, 310.0)], simulation, 50)
sampler.jumps = jumps
sampler.simulate(4)
print(f"{jumps}; replicas at {[sampler.states[i]['temperature'] for i in sampler.replicaStateIndex]} K")
