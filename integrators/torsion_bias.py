"""A static bias on torsions that lowers barriers known from elsewhere, and the weights that take it out again."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import openmm
from openmm import unit
from scipy.ndimage import map_coordinates

from latentmd.arrays import Doubles
from latentmd.integrators.torsion_blocks import TorsionBlock
from latentmd.units import thermal_energy

MOST = 8.0  # depth of a bias, kT


def bias_energy(density: Doubles, above: float, most: float = MOST) -> Doubles:
    """V / kT of a density of cells, of its shape."""
    return np.asarray(-np.clip(np.log(density.max()) - np.log(density) - above, 0.0, most))


def evenness(density: Doubles, above: float) -> float:
    """Kish's effective share of frames, (sum w)^2 / (n sum w^2), of a bias that acts where the density was taken."""
    bias = bias_energy(density, above)
    return float(density.sum() ** 2 / ((density * np.exp(-bias)).sum() * (density * np.exp(bias)).sum()))


class TorsionBias:
    """Adds V(theta) = -min(max(0, F(theta) - above), most) for each block of torsions to a System.

    F is the free energy of the block's table, -kT ln p from its most probable cell, such as that of exact chains in
    implicit solvent. So MD crosses what F calls a barrier, and a frame weighs exp(V / kT): 1 where F is below `above`.
    Make it before the Simulation. Cells are joined by periodic splines. The weights are exact whatever F is; an F that
    is far from that of the system only makes them uneven.

    Args:
        system: any System.
        blocks: of one or two torsions each.
        kelvin: temperature.
        above: what of F is left as it is, kT.
        most: depth of V, kT.

    Raises:
        ValueError: no blocks, or a depth that is not positive.
    """

    def __init__(
        self,
        system: openmm.System,
        blocks: Sequence[TorsionBlock],
        kelvin: float,
        *,
        above: float = 2.0,
        most: float = MOST,
    ) -> None:
        if not blocks or not most > 0:
            raise ValueError(f"{len(blocks)} blocks and a depth of {most:g} kT; expected a block and a positive depth")
        self.kt = thermal_energy(kelvin)
        used = {force.getForceGroup() for force in system.getForces()}
        self.group = next(group for group in range(31, -1, -1) if group not in used)
        for block in blocks:
            energy = self.kt * bias_energy(block.table.weights, above, most)
            force = _map(block, energy) if block.table.torsions == 2 else _spline(block, energy)
            force.setUsesPeriodicBoundaryConditions(system.usesPeriodicBoundaryConditions())
            force.setForceGroup(self.group)
            force.setName("LatentTorsionBias")
            system.addForce(force)

    def log_weight(self, context: openmm.Context) -> float:
        """V / kT of where a Context stands: the logarithm of the weight of its frame."""
        energy = context.getState(energy=True, groups={self.group}).getPotentialEnergy()
        return float(energy.value_in_unit(unit.kilojoule_per_mole) / self.kt)


def _map(block: TorsionBlock, energy: Doubles) -> openmm.CMAPTorsionForce:
    """Two torsions, on a grid that begins at 0, as OpenMM has it."""
    force, (first, second) = openmm.CMAPTorsionForce(), block.quads.tolist()
    angles = 2 * np.pi * np.arange(len(energy)) / len(energy)
    force.addMap(len(energy), _at(energy, np.meshgrid(angles, angles, indexing="ij")).ravel(order="F"))
    force.addTorsion(0, *first, *second)
    return force


def _spline(block: TorsionBlock, energy: Doubles) -> openmm.CustomCompoundBondForce:
    """One torsion; OpenMM's torsion forces take no tabulated functions."""
    force = openmm.CustomCompoundBondForce(4, "bias(dihedral(p1, p2, p3, p4))")
    values = _at(energy, [np.linspace(-np.pi, np.pi, len(energy) + 1)])
    force.addTabulatedFunction("bias", openmm.Continuous1DFunction(values, -np.pi, np.pi, True))
    force.addBond(block.quads[0].tolist(), [])
    return force


def _at(energy: Doubles, angles: Sequence[Doubles]) -> Doubles:
    """Energies of cells, which are those of their middles, at angles in radians between them."""
    places = [(angle + np.pi) / (2 * np.pi) * len(energy) - 0.5 for angle in angles]
    return np.asarray(map_coordinates(energy, places, order=1, mode="grid-wrap"))
