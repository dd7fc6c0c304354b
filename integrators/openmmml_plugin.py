"""A model's energy head as an OpenMM-ML potential: `MLPotential("latentmd", modelPath=...)`.

OpenMM-ML finds the factory by the entry point "latentmd" of the group `openmmml.potentials`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import astuple, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import app
from openmmml.mlpotential import MLPotentialImpl, MLPotentialImplFactory

from latentmd.integrators.ase_molecule import ModelMolecule
from latentmd.integrators.openmm_selection import atom_indices, in_model_order
from latentmd.model.file import BundleError, find, read_manifest
from latentmd.model.manifest import NO_ENERGY
from latentmd.model.peptide_file import is_peptides
from latentmd.model.propagator import Propagator
from latentmd.molecule.bonds import make_whole
from latentmd.systems.agreement import mixing_fault

_DTYPES = {None: None, "single": "float32", "double": "float64"}  # by OpenMM-ML's words


class LatentPotentialFactory(MLPotentialImplFactory):  # type: ignore[misc]
    """Makes `LatentPotential` objects for OpenMM-ML."""

    def createImpl(self, name: str, modelPath: str | Path | None = None, **args: object) -> LatentPotential:
        """The potential of a bundle, by its path or the name of a bundled model."""
        if modelPath is None:
            raise ValueError("modelPath is missing; give a bundle's path: MLPotential('latentmd', modelPath=...)")
        if args:
            raise ValueError(f"unknown argument {', '.join(sorted(args))}; expected modelPath only")
        return LatentPotential(modelPath)


class LatentPotential(MLPotentialImpl):  # type: ignore[misc]
    """The energy head of a bundle, as a PythonForce.

    One trained in implicit solvent holds the solvation energy: a System to mix it with should have no such solvent.
    """

    def __init__(self, model: str | Path) -> None:
        if is_peptides(model):
            raise ValueError(f"{model} has no energy to give to OpenMM-ML: {NO_ENERGY}")
        self.path = find(model).resolve()
        self.manifest = read_manifest(self.path)
        if self.manifest.no_energy:
            raise ValueError(f"{model} has no energy to give to OpenMM-ML: {self.manifest.no_energy}")

    def addForces(
        self,
        topology: app.Topology,
        system: openmm.System,
        atoms: Iterable[int] | None,
        forceGroup: int,
        device: str = "auto",
        precision: str | None = None,
        **args: object,
    ) -> None:
        """Add the force to a System; `precision` is "single", "double" or None for the model's own.

        ValueError for another molecule, or a System whose nonbonded parameters or implicit solvent do not go with it.
        """
        if precision not in _DTYPES:
            raise ValueError(f"precision is {precision!r}; expected 'single', 'double' or None for the model's own")
        count = topology.getNumAtoms()
        chosen = in_model_order(topology, atom_indices(atoms, count), self.manifest)
        if atoms is not None and (why := mixing_fault(system, chosen, self.manifest)):
            raise ValueError(why)
        periodic = topology.getPeriodicBoxVectors() is not None or system.usesPeriodicBoundaryConditions()
        digest = hashlib.sha256(self.path.read_bytes()).hexdigest()
        tree = tuple(ModelMolecule(self.manifest).tree)
        compute = LatentEnergy(str(self.path), digest, device, tree, periodic, dtype=_DTYPES[precision])
        force = openmm.PythonForce(compute)
        force.setForceGroup(forceGroup)
        force.setUsesPeriodicBoundaryConditions(periodic)
        if chosen != list(range(count)):
            force.setParticles(chosen)
        system.addForce(force)

    def getMLLongRange(self) -> bool:
        """False: the model describes one molecule by itself, without its periodic images."""
        return False


@dataclass(frozen=True)
class LatentEnergy:
    """Computes a model's energy and forces for PythonForce; pickled as the path and SHA-256 of the bundle."""

    path: str
    file_sha256: str
    device: str
    tree: tuple[tuple[int, int], ...]
    periodic: bool
    dtype: str | None = None

    @cached_property
    def propagator(self) -> Propagator:
        """The model, loaded on first use: OpenMM does not survive an error while it unpickles a force."""
        found = hashlib.sha256(find(self.path).read_bytes()).hexdigest()
        if found != self.file_sha256:
            raise BundleError(
                f"{self.path} has SHA-256 {found[:12]}…, expected {self.file_sha256[:12]}…; restore the file"
            )
        return Propagator(self.path, self.device, dtype=self.dtype)

    def __call__(self, state: openmm.State) -> tuple[float, NDArray[np.float64]]:
        """Energy in kJ/mol and forces [N, 3] in kJ/mol/nm."""
        x = state.getPositions(asNumpy=True)._value
        if not np.all(np.isfinite(x)):
            raise ValueError("latentmd: the positions in the Context are not finite; load an earlier state")
        if self.periodic:
            x = make_whole(x, self.tree, state.getPeriodicBoxVectors(asNumpy=True)._value)
        energies, forces = self.propagator.energy_and_forces(x[None])
        return float(energies[0]), forces[0]

    def __reduce__(self) -> tuple[type[LatentEnergy], tuple[object, ...]]:
        return LatentEnergy, astuple(self)
