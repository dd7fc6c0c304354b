"""A molecule made ready to simulate: its protocol checked, its platform chosen, its structure minimised."""

from __future__ import annotations

import logging
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import openmm
from numpy.typing import NDArray
from openmm import unit

from latentmd.arrays import Doubles, Ints
from latentmd.io.atomic import OutputError, write_npz
from latentmd.io.pdb import write_pdb
from latentmd.molecule.checks import bond_angles
from latentmd.systems.builder import Molecule, Protocol, build
from latentmd.systems.molecule import platform_rates
from latentmd.systems.own_force_field import write_system
from latentmd.systems.sanity import in_nm

logger = logging.getLogger(__name__)

_LARGE = 500  # atoms above which a structure is not minimised here, since every walker minimises first anyway
_SMALL = 150  # atoms up to which the Reference platform minimises at once
_MINIMISER_STEPS = 500
_STRAINED = np.deg2rad(30.0)  # an angle of a minimised structure may be this far from the force field's; MD shows 20
_ATTEMPTS, _SHAKEN = 5, 500  # minimisations of a strained structure, and MD steps between two
_SYSTEM_FIELDS = ("solvent", "force_field_files", "hydrogen_mass", "inputs")  # of a protocol; the System needs them

#: Arrays by name.
Arrays = dict[str, NDArray[Any]]


@dataclass(frozen=True)
class Prepared:
    """A molecule ready to simulate, by so many MD steps per second on an OpenMM platform. Picklable.

    Its minimised `reference` is in nm, shape (atoms, 3); threads are those of the CPU platform, per process.
    """

    molecule: Molecule
    source: Path
    reference: Doubles
    platform: str
    threads: int
    rate: float


def prepare(molecule: Molecule, source: Path, threads: int) -> Prepared:
    """Choose the fastest platform for a molecule, with so many threads per process, and minimise its structure."""
    say_notes(molecule, source)
    rates = platform_rates(molecule, threads)
    platform = max(rates, key=lambda name: rates[name])
    return Prepared(molecule, source, minimised(molecule, platform), platform, threads=threads, rate=rates[platform])


def say_notes(molecule: Molecule, source: Path) -> None:
    """Say what was chosen or changed where the file of a molecule leaves a choice."""
    for note in molecule.notes:
        logger.warning("%s: %s", source, note)


def minimised(molecule: Molecule, platform: str) -> Doubles:
    """Minimise a molecule of at most 500 atoms with OpenMM; positions in nm, shape (atoms, 3).

    Up to 150 atoms on the Reference platform whatever is faster, so that a seed gives the same frames at any load. A
    file whose atoms lie on the wrong side of one another (PDBFixer puts the second oxygen of a C-terminus beside the
    first) can end in a minimum with an angle that no force field means: dynamics leaves it, and it is minimised again.
    """

    if molecule.system.getNumParticles() > _LARGE:
        return in_nm(molecule.positions)
    used = "Reference" if molecule.system.getNumParticles() <= _SMALL else platform
    context = molecule.context(molecule.langevin(1), used, threads=1)
    triples, preferred = _angles(molecule.system)
    for _ in range(_ATTEMPTS):
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_MINIMISER_STEPS)
        found = in_nm(context.getState(positions=True).getPositions(asNumpy=True))
        if not (np.abs(bond_angles(found[None], triples)[0] - preferred) > _STRAINED).any():
            break
        context.setVelocitiesToTemperature(molecule.protocol.temperature * unit.kelvin, 1)
        context.getIntegrator().step(_SHAKEN)
    return found


def _angles(system: Any) -> tuple[Ints, Doubles]:
    """Atoms (angles, 3) of the harmonic angles of a System, and the angles that these prefer, radians."""
    rows = [
        force.getAngleParameters(k)
        for force in system.getForces()
        if isinstance(force, openmm.HarmonicAngleForce)
        for k in range(force.getNumAngles())
    ]
    triples = np.array([row[:3] for row in rows], dtype=np.int64).reshape(-1, 3)
    return triples, np.array([row[3].value_in_unit(unit.radian) for row in rows], dtype=np.float64)


def molecule_under(protocol: Protocol, source: Path, built: Molecule | None) -> Molecule:
    """Build a molecule under a protocol, or take one that was built already where the same System serves.

    Temperature, friction and time step belong to the integrator, so that they do not need another System.
    """
    if built is None or any(getattr(built.protocol, name) != getattr(protocol, name) for name in _SYSTEM_FIELDS):
        return build(source, protocol)
    return replace(built, protocol=protocol)


def check_protocol(protocol: Protocol) -> None:
    """Refuse, with ValueError, temperature, friction or time step outside the range that MD can have."""
    if not 0 < protocol.temperature < 2000:
        raise ValueError(f"--temperature is {protocol.temperature:g} K; expected more than 0 and less than 2000 K")
    if not 0 < protocol.friction < 1000:
        raise ValueError(f"--friction is {protocol.friction:g}/ps; expected more than 0 and less than 1000/ps")
    if not 0 < protocol.timestep <= 0.005:
        raise ValueError(
            f"--timestep is {protocol.timestep * 1000:g} fs; expected more than 0 and at most 5 fs, which constrained "
            "hydrogens of 3 amu allow"
        )


def read_arrays(path: Path) -> Arrays:
    """Arrays of an npz file of a run; OutputError where it cannot be read."""
    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise OutputError(f"{path} cannot be read ({error}); start the run anew with --overwrite") from error


def made_once(
    path: Path, make: Callable[[], Mapping[str, Any]], whole: Callable[[Mapping[str, Any]], bool] = bool
) -> Arrays:
    """Arrays of an npz file that the first session of a run makes and later ones read.

    What wall time cut short, so that it is not `whole`, is not kept, so that a later session makes it.
    """
    if not path.exists():
        made = make()
        if not whole(made):
            return {key: np.asarray(value) for key, value in made.items()}
        path.parent.mkdir(exist_ok=True)
        write_npz(path, made)
    return read_arrays(path)


def write_molecule(folder: Path, molecule: Molecule, positions: Doubles) -> None:
    """Write topology.pdb, and the System of a molecule with its own force field, into the folder of a run."""
    write_pdb(folder / "topology.pdb", molecule.topology, positions)
    write_system(molecule, folder)
