"""A model's energies as an ASE calculator."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ase import Atoms
from ase.calculators.calculator import Calculator, PropertyNotImplementedError, all_changes
from ase.stress import full_3x3_to_voigt_6_stress
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Ints
from latentmd.integrators.ase_molecule import Model, ModelMolecule, as_propagator
from latentmd.units import ANGSTROM, ELECTRONVOLT

HEADS = ("energy", "latent_energy")
Names = Sequence[str]
Results = dict[str, float | Doubles]  # by names of ASE properties
_FORCE = ANGSTROM / ELECTRONVOLT  # kJ/mol/nm in eV/Å
_BATCH = {"cpu": 256}  # structures in one pass; on a CPU more of them leave the cache and take longer each


class LatentCalculator(Calculator):
    """Energies and forces of a model, in eV and Å.

    Forces are the exact gradient of the energy, by automatic differentiation; energy, free energy, forces and (in a
    fully periodic cell) stress come from one pass. The model describes one molecule: a periodic cell changes nothing
    but where its atoms are wrapped, and the stress is the molecule's virial over the volume of the cell.

    Args:
        model: name of a bundled model, path of a bundle, a Bundle, or a Propagator to share.
        head: "energy", U(x) of full-atom positions; or "latent_energy", E[U | z] given the latent alone, with its
            variance as the property "energy_var" in eV².
        device: "auto" takes CUDA where there is a device, else the CPU.
        dtype: "float64" for numerical derivatives; None computes as the model was trained, in single precision mostly.

    Raises:
        TypeError: no model.
        ValueError: an unknown head or dtype; on calculation, Atoms other than the molecule of the model. Its atoms may
            be in any order: bonds are read from distances.

    Example:
        >>> from ase.io import read
        >>> atoms = read("alanine_dipeptide.pdb")               # doctest: +SKIP
        >>> atoms.calc = LatentCalculator("alanine-dipeptide")  # doctest: +SKIP
        >>> atoms.get_potential_energy()                        # doctest: +SKIP
    """

    implemented_properties = ["energy", "free_energy", "forces", "stress"]  # noqa: RUF012 (ASE's way)
    ignored_changes = {"initial_charges", "initial_magmoms"}  # noqa: RUF012

    def __init__(self, model: Model, head: str = "energy", device: str = "auto", dtype: str | None = None) -> None:
        if head not in HEADS:
            raise ValueError(f"head is {head!r}; expected one of {', '.join(HEADS)}")
        self.propagator = as_propagator(model, device, dtype)
        self.head = head
        self.dtype = str(self.propagator.dtype).removeprefix("torch.")
        super().__init__(model=str(self.propagator.bundle.path), head=head)  # type: ignore[no-untyped-call]
        if head == "latent_energy":  # this instance's list only
            self.implemented_properties = [*type(self).implemented_properties, "energy_var"]
        self.molecule = ModelMolecule(self.propagator.manifest)
        self._order: Ints | None = None

    def __reduce__(self) -> tuple[type[LatentCalculator], tuple[Path, str, str, str]]:
        """Pickle the model's path, not its weights."""
        return LatentCalculator, (self.propagator.bundle.path, self.head, str(self.propagator.device), self.dtype)

    def __repr__(self) -> str:
        return f"LatentCalculator({self.molecule.name}, head {self.head!r}, {self.dtype}, {self.propagator.device})"

    def calculate(
        self, atoms: Atoms | None = None, properties: Names = ("energy",), system_changes: Names = tuple(all_changes)
    ) -> None:
        """Fill `results`; called by ASE where a property asked for is out of date.

        Args:
            atoms: the structure; the one attached before otherwise.
            properties: names of ASE properties, such as "energy" (eV) and "forces" (eV/Å).
            system_changes: what ASE found changed since the last call.
        """
        super().calculate(atoms, properties, system_changes)  # type: ignore[no-untyped-call]
        structure: Any = self.atoms
        self._order = self.molecule.order(structure, None if "numbers" in system_changes else self._order)
        _check_stress(properties, [structure])
        self.results = self._results([structure], [self._order])[0]

    def compute_batch(self, atoms: Sequence[Atoms], properties: Names = ("energy", "forces")) -> list[Results]:
        """Properties (names of `implemented_properties`) of many structures, apart from the calculator's own state."""
        for name in properties:
            if name not in self.implemented_properties:
                raise PropertyNotImplementedError(f"{name} is not a property of head {self.head!r}")
        _check_stress(properties, atoms)
        orders = [self.molecule.order(structure) for structure in atoms]
        size = _BATCH.get(self.propagator.device.type, 1024)
        rows: list[Results] = []
        for start in range(0, len(atoms), size):
            rows += self._results(atoms[start : start + size], orders[start : start + size])
        return [{name: row[name] for name in properties} for row in rows]

    def get_descriptors(self, atoms: Atoms | None = None) -> NDArray[np.float64]:
        """Latent tokens [tokens, dim] of a structure (the last one where None): slow axes first, then the fast ones."""
        structure = self.atoms if atoms is None else atoms
        if structure is None:
            raise ValueError("no structure yet; pass atoms, or calculate an energy first")
        order = self.molecule.order(structure)
        latent = torch.cat(self.propagator.encode_all(self.molecule.whole(structure, order)[None]), dim=-1)
        return np.asarray(latent[0].double().cpu().numpy())

    def _results(self, atoms: Sequence[Atoms], orders: Sequence[Ints]) -> list[Results]:
        """Everything the head gives, of structures, given for each atom of the model its index in them."""
        if self.propagator.manifest.no_energy:
            raise PropertyNotImplementedError(self.propagator.manifest.no_energy)
        positions = np.stack([self.molecule.whole(a, order) for a, order in zip(atoms, orders, strict=True)])
        x = self.propagator.tensor(positions).requires_grad_(True)
        module, variance = self.propagator.module, None
        if self.head == "energy":
            energy = module.energy(x)
        else:
            slow, fast = module.encode(x)
            energy, variance = module.latent_energy(slow, fast)
        (gradient,) = torch.autograd.grad(energy.sum(), x)
        energies = energy.detach().double().cpu().numpy() / ELECTRONVOLT
        own = -_FORCE * gradient.double().cpu().numpy()
        results: list[Results] = []
        for i, (structure, order) in enumerate(zip(atoms, orders, strict=True)):
            forces = np.empty_like(own[i])
            forces[order] = own[i]
            row: Results = {"energy": float(energies[i]), "free_energy": float(energies[i]), "forces": forces}
            if all(structure.pbc):
                # dE/dε / V = -Σ x_i ⊗ F_i / V in eV/Å³, ASE's sign; x whole, forces of zero sum and torque
                virial = -(positions[i] / ANGSTROM).T @ own[i] / structure.get_volume()
                row["stress"] = np.asarray(full_3x3_to_voigt_6_stress(0.5 * (virial + virial.T)))
            if variance is not None:
                row["energy_var"] = float(variance[i].detach()) / ELECTRONVOLT**2
            results.append(row)
        return results


def _check_stress(properties: Names, atoms: Sequence[Atoms]) -> None:
    if "stress" in properties and not all(structure.pbc.all() for structure in atoms):
        raise PropertyNotImplementedError("stress needs a system that is periodic in three directions")
