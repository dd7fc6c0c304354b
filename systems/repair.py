"""Atoms that a file lacks: heavy atoms and residues by PDBFixer, hydrogens by OpenMM's Modeller, and protonation."""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from itertools import pairwise

import numpy as np
import openmm
from openmm import Vec3, app, unit
from openmm.app.internal.unitcell import computePeriodicBoxVectors
from pdbfixer import PDBFixer

from latentmd.molecule.stereo import cis_peptides, handedness
from latentmd.systems.connections import Connections, distance
from latentmd.systems.gaps import Fill
from latentmd.systems.names import AMINO_ACIDS, CAPS, D_AMINO_ACIDS, IONS
from latentmd.systems.protocol import MoleculeError
from latentmd.systems.residues import Atom, Residue, listed
from latentmd.systems.sanity import in_nm
from latentmd.units import first_line

_HYDROGEN_BOND = 0.15  # nm; longest covalent bond to hydrogen (S-H 0.134), stretched


def assemble(found: Connections) -> tuple[app.Topology, unit.Quantity, list[Residue]]:
    """OpenMM Topology under standard residue names, positions, and the residues in its order.

    Bonds are OpenMM's by name, of hydrogens to the nearest heavy atom, and between residues those in `found`.
    """
    topology, residues, xyz = app.Topology(), [], []
    atoms: dict[tuple[Residue, str], app.topology.Atom] = {}
    for index, chain in enumerate(found.chains):
        made_chain = topology.addChain(chain[0].key[0] or chr(ord("A") + index % 26))
        for residue in chain:
            residues.append(residue)
            made = topology.addResidue(residue.name, made_chain, str(residue.key[1]), residue.key[2])
            for atom in residue.atoms:
                atoms[residue, atom.name] = topology.addAtom(atom.name, atom.element, made)
                xyz.append(Vec3(*atom.position))
    done: set[frozenset[app.topology.Atom | None]] = set()
    pairs = [(residue, a, residue, b) for residue in residues for a, b in _inner_bonds(residue)]
    for a, x, b, y in [*pairs, *found.inner, *found.bonds]:
        ends = atoms.get((a, x)), atoms.get((b, y))
        if None not in ends and frozenset(ends) not in done:
            done.add(frozenset(ends))
            topology.addBond(*ends)
    if found.cell is not None:
        angles = (np.deg2rad(angle) for angle in found.cell[3:])
        topology.setPeriodicBoxVectors(computePeriodicBoxVectors(*found.cell[:3], *angles))
    return topology, unit.Quantity(xyz, unit.nanometer), residues


def _inner_bonds(residue: Residue) -> list[tuple[str, str]]:
    app.Topology().createStandardBonds()  # loads the table once
    table = app.Topology._standardBonds.get(residue.name)
    if table is None:
        return []
    bonds = [(a, b) for a, b in table if a[0] not in "-+" and b[0] not in "-+"]
    hydrogens = [atom for atom in residue.atoms if atom.name in residue.hydrogens]
    heavy = {atom.name: atom for atom in residue.atoms if atom not in hydrogens}
    foreign = [residue.label(name) for name in heavy if not any(name in bond for bond in bonds)]
    if foreign and (residue.name in AMINO_ACIDS or residue.name in CAPS):
        raise MoleculeError(f"{listed(foreign)}: {residue.found} has no such atom; correct the name or remove it")
    parents = [(_parent(residue, atom, list(heavy.values())), atom.name) for atom in hydrogens]
    return [(a, b) for a, b in bonds if a in heavy and b in heavy] + parents


def _parent(residue: Residue, hydrogen: Atom, heavy: list[Atom]) -> str:
    """Name of the heavy atom that a hydrogen is bonded to."""
    near = min(heavy, key=lambda atom: distance(atom, hydrogen), default=None)
    if near is None or distance(near, hydrogen) > _HYDROGEN_BOND:
        where = f"{distance(near, hydrogen):.3f} nm from the nearest atom of" if near else "the only atom of"
        raise MoleculeError(
            f"hydrogen {residue.label(hydrogen.name)} is {where} {residue}; expected about 0.1 nm: correct it or leave "
            "it out to have it built"
        )
    return near.name


def read_back(
    topology: app.Topology, positions: unit.Quantity, found: Connections, inserted: dict[tuple[int, int], int]
) -> None:
    """Put a completed Topology of `assemble` into `found`; `inserted`: residues new before each (chain, place)."""
    xyz = positions.value_in_unit(unit.nanometer)
    for index, chain in enumerate(topology.chains()):
        old = found.chains[index]
        place, fresh, merged = 0, 0, list[Residue]()
        for source in chain.residues():
            if fresh < inserted.get((index, place), 0):
                residue = Residue(source.name, source.name, None, (chain.id, int(source.id), ""), -1)
                fresh += 1
            else:
                residue = old[place]
                fresh, place = 0, place + 1
            residue.atoms = _atoms(source, xyz, residue)
            merged.append(residue)
        new = set(merged) - set(old)
        found.bonds += [(a, "C", b, "N") for a, b in pairwise(merged) if {a, b} & new]
        found.chains[index] = merged


def _atoms(source: app.topology.Residue, xyz: list[Vec3], residue: Residue) -> list[Atom]:
    serials = {atom.name: atom.serial for atom in residue.atoms}
    return [
        Atom(atom.name, atom.element, tuple(float(v) for v in xyz[atom.index]), serials.get(atom.name, -1))  # type: ignore[arg-type]
        for atom in source.atoms()
    ]


_SMALL = 1000  # atoms; larger molecules are repaired on the fastest platform instead
_RELAXATION = 500  # steps of the minimiser after residues were modelled
_HOT, _HOT_STEPS = 600.0, 4000  # K, and steps of 1 fs, in which modelled residues settle
_SEEDS = (1, 2, 3, 4, 5)  # tries until what was built has the right handedness
_ONE_ATOM = "ATOM      1  N   GLY A   1       0.000   0.000   0.000  1.00  0.00           N\n"


@contextmanager
def repeatable() -> Iterator[None]:
    """PDBFixer and Modeller draw from global generators: seed them, and put them back as they were."""
    generators = random.getstate(), np.random.get_state()
    random.seed(1)
    np.random.seed(1)
    try:
        yield
    finally:
        random.setstate(generators[0])
        np.random.set_state(generators[1])


def _platform(atoms: int) -> openmm.Platform | None:
    """Added atoms are placed by minimisation; on one thread it gives the same positions every time."""
    return openmm.Platform.getPlatformByName("Reference") if atoms <= _SMALL else None


def add_heavy_atoms(found: Connections, fill: Fill) -> None:
    """Build missing heavy atoms, terminal oxygens and residues into `found`, and check their handedness."""
    topology, positions, residues = assemble(found)
    fixer = _fixer(topology, positions, fill)
    made = list(topology.residues())
    lacking = [residues[made.index(residue)] for residue in fixer.missingAtoms]
    _refuse_unbuildable(lacking, topology, positions, residues)
    for index in found.rings:
        fixer.missingTerminals.pop(made[residues.index(found.chains[index][-1])], None)
    if not (fixer.missingAtoms or fixer.missingTerminals or fill):
        return
    todo = dict(fixer.missingAtoms), dict(fixer.missingTerminals)
    inserted = {place: len(names) for place, names in fill.items()}
    saved, bonds = [list(chain) for chain in found.chains], list(found.bonds)
    atoms = {residue: list(residue.atoms) for residue in residues}
    problem = ""
    for seed in _SEEDS:
        fixer.topology, fixer.positions = topology, deepcopy(positions)
        fixer.missingAtoms, fixer.missingTerminals = dict(todo[0]), dict(todo[1])
        try:
            fixer.addMissingAtoms(seed=seed)
        except Exception as error:  # PDBFixer raises whatever its dictionaries and the force field do
            raise MoleculeError(f"missing atoms cannot be built ({first_line(error)}); complete the file") from error
        found.chains, found.bonds = [list(chain) for chain in saved], list(bonds)
        for residue, old in atoms.items():
            residue.atoms = list(old)
        read_back(fixer.topology, fixer.positions, found, inserted)
        _rebuild_mirrored(found, set(residues))
        problem = _wrong(found, set(lacking), set(residues))
        if not problem:
            return
    raise MoleculeError(f"{problem}: the missing atoms could not be built soundly; complete the file")


def _rebuild_mirrored(found: Connections, old: set[Residue]) -> None:
    """Build the side chains of inserted residues again that PDBFixer closed as D: its minimiser may turn them over."""
    topology, positions, residues = assemble(found)
    hands = handedness(topology, in_nm(positions))
    mirrored = [residues[i] for i, hand in hands.items() if hand == "D" and residues[i] not in old]
    if not mirrored:
        return
    for residue in mirrored:
        residue.atoms = [atom for atom in residue.atoms if atom.name in ("N", "CA", "C", "O")]
    topology, positions, residues = assemble(found)
    fixer = _fixer(topology, positions, {})
    made = list(topology.residues())
    fixer.missingAtoms = {r: atoms for r, atoms in fixer.missingAtoms.items() if residues[made.index(r)] in mirrored}
    fixer.missingTerminals = {}
    fixer.addMissingAtoms(seed=1)
    read_back(fixer.topology, fixer.positions, found, {})


def _fixer(topology: app.Topology, positions: unit.Quantity, fill: Fill) -> PDBFixer:
    fixer = PDBFixer(pdbfile=io.StringIO(_ONE_ATOM), platform=_platform(topology.getNumAtoms()))
    fixer.topology, fixer.positions = topology, positions
    fixer.missingResidues = dict(fill)
    fixer.findMissingAtoms()
    return fixer


def _refuse_unbuildable(
    lacking: list[Residue], topology: app.Topology, positions: unit.Quantity, residues: list[Residue]
) -> None:
    for residue in lacking:
        heavy = len(residue.atoms) - len(residue.hydrogens)
        if residue.amino_acid and heavy < 3:
            raise MoleculeError(f"{residue} has only {heavy} heavy atoms; expected 3 or more to build others from")
    hands = handedness(topology, in_nm(positions)) if lacking else {}
    mirrored = [r for r in lacking if r.found in D_AMINO_ACIDS or hands.get(residues.index(r)) == "D"]
    if mirrored:
        raise MoleculeError(f"{listed(mirrored)} lacks atoms, which can be built for L amino acids only; complete it")


def _wrong(found: Connections, lacking: set[Residue], old: set[Residue]) -> str:
    """What is wrong with residues that got atoms; empty where nothing is."""
    topology, positions, residues = assemble(found)
    xyz = in_nm(positions)
    touched = {i for i, residue in enumerate(residues) if residue in lacking or residue not in old}
    for index, hand in handedness(topology, xyz).items():
        if index in touched and hand == "D":
            return f"{residues[index]} came out as a D amino acid"
    for index in cis_peptides(topology, xyz):
        if residues[index] not in old and residues[index].name != "PRO":
            return f"the peptide bond before {residues[index]} came out as cis"
    for first, second in topology.bonds():
        length = float(np.linalg.norm(xyz[first.index] - xyz[second.index]))
        if length > 0.2 and {first.residue.index, second.residue.index} & touched:
            return f"the bond {first} to {second} came out {length:.2f} nm long"
    return ""


def add_hydrogens(
    found: Connections, force_field: app.ForceField, ph: float
) -> tuple[app.Topology, unit.Quantity, list[Residue], bool]:
    """Complete or correct hydrogens where all heavy atoms are: Topology, positions, residues, whether any changed."""
    topology, positions, residues = assemble(found)
    now = states(topology)
    bare = any(not residue.hydrogens and residue.name not in IONS for residue in residues)
    differ = any(disagreement(residue, state, found) for residue, state in zip(residues, now, strict=True))
    if not (bare or differ or force_field.getUnmatchedResidues(topology)):
        return topology, positions, residues, False
    modeller = app.Modeller(topology, positions)
    try:
        variants, platform = [wanted(residue, found) for residue in residues], _platform(2 * topology.getNumAtoms())
        modeller.addHydrogens(pH=ph, variants=variants, platform=platform)
    except Exception as error:  # Modeller raises whatever its dictionaries and vectors do
        raise MoleculeError(f"hydrogens cannot be built ({first_line(error)}); add them to the file") from error
    rings = {found.chains[index][0] for index in found.rings}
    of_nitrogen = {a for pair in modeller.topology.bonds() for a, b in (pair, pair[::-1]) if b.name == "N"}
    extra = [a for a in of_nitrogen if residues[a.residue.index] in rings and a.name in ("H2", "H3")]
    if extra:
        modeller.delete(extra)
    return modeller.topology, modeller.positions.in_units_of(unit.nanometer), residues, True


def relaxed(topology: app.Topology, system: openmm.System, positions: unit.Quantity) -> unit.Quantity:
    """Positions after hot MD and a minimisation, which alone leaves angles that PDBFixer bent straight; a Quantity.

    MoleculeError where at every try a peptide bond is newly cis, or a residue has turned over.
    """
    platform = _platform(system.getNumParticles())
    hands = handedness(topology, in_nm(positions))
    for seed in _SEEDS:
        integrator = openmm.LangevinMiddleIntegrator(_HOT, 10.0, 0.001)
        integrator.setRandomNumberSeed(seed)
        context = openmm.Context(system, integrator, *(() if platform is None else (platform,)))
        context.setPositions(positions)
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_RELAXATION)
        context.setVelocitiesToTemperature(_HOT, seed)
        integrator.step(_HOT_STEPS)
        openmm.LocalEnergyMinimizer.minimize(context)
        found = context.getState(positions=True).getPositions()
        residues = list(topology.residues())
        cis = [i for i in cis_peptides(topology, in_nm(found)) if residues[i].name != "PRO"]
        if not cis and handedness(topology, in_nm(found)) == hands:
            return found
    raise MoleculeError("the residues modelled in a gap close only with a cis peptide bond; use --missing split")


_ACID_OXYGENS = {"ASP": ("OD1", "OD2"), "GLU": ("OE1", "OE2")}
_PROTONATED = {"ASP": "ASH", "GLU": "GLH"}
TITRATABLE = ("ASP", "GLU", "HIS", "LYS", "CYS")


def wanted(residue: Residue, found: Connections) -> str | None:
    """Variant for `Modeller.addHydrogens`, None by hydrogens and pH; the pH never deprotonates a sulfur."""
    if residue.name == "CYS":
        return "CYX" if found.disulfide(residue) or residue.state == "CYM" else "CYS"
    return residue.state


def states(topology: app.Topology) -> list[str]:
    """Name of every residue with its protonation state, such as HIP or ASH, by the hydrogens that it has."""
    hydrogens: dict[app.topology.Atom, int] = {}
    linked: set[app.topology.Atom] = set()
    for first, second in topology.bonds():
        for atom, other in ((first, second), (second, first)):
            if other.element is not None and other.element.atomic_number == 1:
                hydrogens[atom] = hydrogens.get(atom, 0) + 1
            elif other.residue is not atom.residue:
                linked.add(atom)
    return [_state(residue, hydrogens, linked) for residue in topology.residues()]


def _state(
    residue: app.topology.Residue, hydrogens: dict[app.topology.Atom, int], linked: set[app.topology.Atom]
) -> str:
    atoms = {atom.name: atom for atom in residue.atoms()}

    def count(*names: str) -> int:
        return sum(hydrogens.get(atoms[name], 0) for name in names if name in atoms)

    name: str = residue.name
    if name in _ACID_OXYGENS:
        return _PROTONATED[name] if count(*_ACID_OXYGENS[name]) else name
    if name == "HIS":
        return {(1, 0): "HID", (0, 1): "HIE", (1, 1): "HIP"}.get((count("ND1"), count("NE2")), "HIS")
    if name == "LYS":
        return "LYN" if count("NZ") == 2 else "LYS"
    if name == "CYS" and "SG" in atoms:
        return "CYX" if atoms["SG"] in linked else "CYS" if count("SG") else "CYM"
    return name


def disagreement(residue: Residue, state: str, found: Connections) -> bool:
    """Whether the hydrogens of a residue say something else than its name, or leave out what its name implies."""
    variant = wanted(residue, found)
    if residue.name == "CYS":
        return state != {"CYX": "CYX" if found.disulfide(residue) else "CYM", "CYS": "CYS"}[variant or "CYS"]
    if residue.name == "LYS":
        return state != (variant or "LYS")
    return variant is not None and variant != state


def protonation_note(residues: list[Residue], names: list[str], ph: float) -> list[str]:
    """What every titratable residue became, and why, in one sentence; nothing where there are none."""
    shown = [
        f"{name} {residue.key[0]}:{residue.key[1]}{residue.key[2]}"
        for residue, name in zip(residues, names, strict=True)
        if residue.name in TITRATABLE
    ]
    named = any(residue.state for residue in residues if residue.name in TITRATABLE)
    how = f"by name, else by the hydrogens there are, else at pH {ph:g}" if named else f"at pH {ph:g}"
    return [f"protonation {how}: {listed(shown)}"] if shown else []
