"""Latent steps as ASE molecular dynamics."""

from __future__ import annotations

from contextlib import suppress
from numbers import Real
from typing import IO, Any

import numpy as np
from ase import Atoms, units
from ase.calculators.calculator import PropertyNotImplementedError
from ase.constraints import ExternalForce, FixAtoms, FixBondLengths, Hookean, MirrorForce, MirrorTorque
from ase.md.logger import MDLogger
from ase.md.md import MolecularDynamics

from latentmd.arrays import Doubles
from latentmd.core.noise import CounterNoise
from latentmd.integrators.ase_molecule import Model, ModelMolecule, as_propagator
from latentmd.integrators.openmm_constraints import ConstraintProjector
from latentmd.model.propagator import Noise, UnsoundError
from latentmd.units import ANGSTROM, ELECTRONVOLT

_FROZEN = 1e8  # amu, in place of an infinite mass


class LatentDynamics(MolecularDynamics):
    """Molecular dynamics whose step is a stochastic step of a model: encode, step in latent space, decode, align.

    A step asks for no forces; the calculator of the atoms, where there is one, is asked where an observer, such as a
    trajectory, is due. Positions keep the centre of mass and, as far as a molecule that has changed can, the
    orientation; momenta are redrawn from the Maxwell–Boltzmann distribution. A decoded structure with a broken bond,
    a clash or the wrong handedness is drawn again.

    FixAtoms holds its atoms where they are: the new structure is superposed on them. FixBondLengths is met by
    projection at the new geometry (ASE's own adjustment starts from the old one and fails on large steps). Other
    constraints adjust the new positions in their own way. Those that act by forces or energies alone (Hookean,
    ExternalForce, MirrorForce, MirrorTorque) are refused: a latent step knows no forces.

    Args:
        atoms: the molecule of the model; a calculator is not needed.
        timestep: in ASE's time units, such as `100_000 * units.fs`; a multiple of a lag the model covers.
        model: name of a bundled model, path of a bundle, a Bundle, or a Propagator to share.
        temperature_K: must be the model's, which is taken where None.
        rng: numpy Generator or RandomState that decides all randomness; fresh entropy where None.
        device: "auto" takes CUDA where there is a device, else the CPU.
        trajectory, logfile, loginterval, kwargs: as in ASE. The log's potential energy is the calculator's where
            there is one, else that of the model's energy head, and nan where the model has none.

    Raises:
        TypeError: an argument of another type.
        ValueError: a time step or temperature the model does not cover, Atoms other than its molecule, or a constraint
            that acts by forces, also where it is set later.
    """

    def __init__(
        self,
        atoms: Atoms,
        timestep: float,
        model: Model,
        *,
        temperature_K: float | None = None,
        rng: np.random.Generator | np.random.RandomState | None = None,
        device: str = "auto",
        trajectory: Any = None,
        logfile: IO[str] | str | None = None,
        loginterval: int = 1,
        **kwargs: Any,
    ) -> None:
        self.rng = _generator(rng)
        shared = as_propagator(model, device)
        self.molecule = ModelMolecule(shared.manifest)
        self._order = self.molecule.order(atoms)
        self.propagator = shared.in_order(self._order)
        _refuse_forces(atoms)
        for name, value, types in (("timestep", timestep, Real), ("temperature_K", temperature_K, Real | None)):
            if not isinstance(value, types):
                raise TypeError(f"{name} is {value!r}; expected a number")
        self.lag_time = timestep / (1000 * units.fs)  # ps
        self.propagator.split_time(self.lag_time)
        expected = self.propagator.temperature
        if temperature_K is not None and not abs(temperature_K - expected) <= 1e-3:
            raise ValueError(f"temperature_K is {temperature_K:g}; the model was trained at {expected:g} K")
        self.temperature_K = expected
        super().__init__(atoms, timestep, trajectory=trajectory, logfile=None, loginterval=loginterval, **kwargs)
        if logfile:
            self.attach(self.closelater(_Logger(self, atoms, logfile, comm=self.comm)), loginterval)  # type: ignore[no-untyped-call]

    def todict(self) -> dict[str, object]:
        """Description of the dynamics that ASE writes into a trajectory file."""
        model = {"model": self.propagator.manifest.name, "model_sha256": self.propagator.bundle.sha256}
        return {**super().todict(), "temperature_K": self.temperature_K, **model}  # type: ignore[no-untyped-call]

    def step(self) -> None:
        """One time step; UnsoundError where no structure drawn is sound, and the atoms are as they were."""
        atoms = self.atoms
        _refuse_forces(atoms)
        old = self.positions() / ANGSTROM
        frozen = np.zeros(len(atoms), dtype=bool)
        for constraint in atoms.constraints:
            if isinstance(constraint, FixAtoms):
                frozen[constraint.get_indices()] = True
        weights = np.where(frozen, _FROZEN, self.masses.ravel())

        def constrained(proposal: Doubles) -> Doubles:
            return ANGSTROM * _constrained(atoms, old, proposal / ANGSTROM, weights)

        try:
            x = ANGSTROM * old
            step = self.propagator.sound_step(x, self.lag_time, lambda draw: self.rng, weights, constrained)
        except UnsoundError as error:
            hint = "; the constraints may leave no room for a latent step" if atoms.constraints else ""
            raise UnsoundError(f"{error}{hint}") from error
        new = step.positions / ANGSTROM
        moved = atoms.get_positions()
        moved[~frozen] += (new - old)[~frozen]
        atoms.set_positions(moved, apply_constraint=False)
        atoms.set_momenta(np.sqrt(self.masses * units.kB * self.temperature_K) * self.rng.standard_normal(new.shape))

    def positions(self) -> Doubles:
        """Positions of the atoms in nm, [N, 3], with no bond across a face of the cell."""
        return self.propagator.returned(self.molecule.whole(self.atoms, self._order))

    def _refresh_properties(self) -> None:
        """ASE calculates forces here after every step; a latent step needs none."""

    def call_observers(self) -> None:
        """Call the observers that are due, with energy and forces known if the atoms have a calculator."""
        due = (self.nsteps % every == 0 if every > 0 else self.nsteps == -every for _, every, *_ in self.observers)
        if self.atoms.calc is not None and any(due):
            for ask in (self.atoms.get_forces, self.atoms.get_potential_energy):
                with suppress(PropertyNotImplementedError):
                    ask()
        super().call_observers()  # type: ignore[no-untyped-call]

    def __repr__(self) -> str:
        settings = f"{self.temperature_K:g} K, step {self.lag_time:g} ps"
        return f"LatentDynamics({self.molecule.name}, {settings}, {self.nsteps} steps made)"


class _Logger(MDLogger):
    """MDLogger that takes the energy from the model where there is no calculator."""

    def __init__(self, dynamics: LatentDynamics, atoms: Atoms, logfile: IO[str] | str, **kwargs: Any) -> None:
        self.dynamics = dynamics
        super().__init__(dynamics, atoms, logfile, **kwargs)

    def _potential_energy(self) -> float:
        if self.atoms.calc is not None:
            return float(self.atoms.get_potential_energy())
        if self.dynamics.propagator.manifest.no_energy:
            return float("nan")
        return float(self.dynamics.propagator.energies(self.dynamics.positions()[None])[0]) / ELECTRONVOLT


def _generator(rng: Noise | np.random.RandomState | None) -> Noise:
    """The source of randomness as a Generator; a RandomState goes on from, and moves, its own state."""
    if rng is None:
        return np.random.default_rng()
    if isinstance(rng, np.random.RandomState):
        return np.random.Generator(rng._bit_generator)
    if not isinstance(rng, np.random.Generator | CounterNoise):
        raise TypeError(f"rng is {type(rng).__name__}; expected a Generator, such as numpy.random.default_rng(7)")
    return rng


def _refuse_forces(atoms: Atoms) -> None:
    """Refuse constraints that a step without forces would ignore."""
    if kinds := [type(constraint).__name__ for constraint in atoms.constraints if _acts_by_forces(atoms, constraint)]:
        raise ValueError(
            f"the constraint {kinds[0]} acts by forces, which a latent step does not use; remove it, or run ASE's own "
            "dynamics with LatentCalculator"
        )


def _acts_by_forces(atoms: Atoms, constraint: Any) -> bool:
    """Whether a constraint leaves positions as they are proposed, of ASE's kinds or of the user's own."""
    if type(constraint).__module__.startswith("ase.constraints"):
        return isinstance(constraint, Hookean | ExternalForce | MirrorForce | MirrorTorque)
    if hasattr(constraint, "adjust_potential_energy") or not hasattr(constraint, "adjust_positions"):
        return True
    proposed = atoms.positions + np.random.default_rng(0).normal(scale=0.1, size=(len(atoms), 3))
    adjusted = proposed.copy()
    constraint.adjust_positions(atoms.copy(), adjusted)
    return np.array_equal(adjusted, proposed)


def _constrained(atoms: Atoms, old: Doubles, proposal: Doubles, masses: Doubles) -> Doubles:
    """The proposal after every constraint of the atoms, in Å; `old` are their positions with the molecule whole."""
    new, before = proposal.copy(), atoms.copy()
    before.set_positions(old, apply_constraint=False)
    pairs, lengths = [], []
    for constraint in atoms.constraints:
        if not isinstance(constraint, FixBondLengths):
            constraint.adjust_positions(before, new)
            continue
        if constraint.bondlengths is None:
            constraint.bondlengths = constraint.initialize_bond_lengths(atoms)
        pairs.append(np.asarray(constraint.pairs))
        lengths.append(np.asarray(constraint.bondlengths))
    if not pairs:
        return new
    table, sizes = np.concatenate(pairs), np.concatenate(lengths)
    free = ~(masses[table] >= _FROZEN).all(axis=1)
    return ConstraintProjector(table[free], sizes[free], masses, tolerance=1e-12).project_positions(new)
