"""File of a molecule → parametrised Molecule: read, choose, connect, complete, parametrise, check."""

from __future__ import annotations

from pathlib import Path

from openmm import app, unit

from latentmd.molecule.stereo import allo_side_chains, handedness
from latentmd.systems import repair
from latentmd.systems.connections import connect, refuse_unbonded
from latentmd.systems.gaps import close_gaps, left_out, refuse_lone
from latentmd.systems.ligands import build_ligand
from latentmd.systems.molecule import Molecule
from latentmd.systems.names import AMINO_ACIDS, D_AMINO_ACIDS, IONS, WATER
from latentmd.systems.own_force_field import build_own
from latentmd.systems.parametrise import load_force_field, parametrise, refuse_unknown, solvated
from latentmd.systems.protocol import (
    DEFAULT_FORCE_FIELDS,
    InputOptions,
    MoleculeError,
    Protocol,
    Solvent,
    without_water,
)
from latentmd.systems.readers.columns import read_gro, read_pdb
from latentmd.systems.readers.mmcif import read_mmcif
from latentmd.systems.readers.records import Records
from latentmd.systems.readers.text import EXPECTED, LIGAND, is_ligand, read_text, source_kind
from latentmd.systems.residues import Residue, choose, listed
from latentmd.systems.sanity import check_bonds, check_charge, check_positions, in_nm

__all__ = [
    "DEFAULT_FORCE_FIELDS", "WATER", "InputOptions", "Molecule", "MoleculeError", "Protocol", "Solvent", "build",
]  # fmt: skip

_DEFAULT = Protocol()
_READERS = {"pdb": read_pdb, "mmcif": read_mmcif, "gro": read_gro}


def build(pdb: str | Path, protocol: Protocol = _DEFAULT) -> Molecule:
    """Read a molecule from a file, complete it and parametrise it; or take it as it is with its own force field.

    Missing heavy atoms are built by PDBFixer, hydrogens by OpenMM's Modeller where a residue has none, lacks some or
    has others than its name says; both are listed in `Molecule.added`. The name of a residue decides its protonation,
    then its hydrogens, then the pH. What was chosen where the file leaves a choice is in `Molecule.notes`. An Amber
    prmtop, GROMACS top or CHARMM psf file, or any structure with `protocol.inputs.system`, is simulated with its own
    force field; nothing is added to it. MoleculeError where the file cannot be read or its molecule not be mended.
    """
    expected = ("pdb", pdb, (str, Path), "the path of a file"), ("protocol", protocol, Protocol, "a Protocol")
    for name, value, types, what in expected:
        if not isinstance(value, types):
            raise TypeError(f"{name} is {value!r}; expected {what}")
    path = Path(pdb)
    if protocol.inputs.select:
        raise MoleculeError(
            f"{path}: --select is for models whose force field is not known; give a file of the molecule alone"
        )
    kind = source_kind(path, protocol.inputs)
    if kind == "ligand":
        return build_ligand(path, protocol)
    if kind == "own":
        if protocol.inputs != without_water(protocol.inputs):
            raise MoleculeError(f"{path}: brings its force field and box; leave out --water, --box, --padding, --salt")
        return build_own(path, protocol)
    if protocol.inputs.positions or protocol.inputs.parameters:
        raise MoleculeError(f"{path}: has coordinates; --positions and --parameters are for a prmtop, psf or top file")
    text, force_field = read_text(path), load_force_field(protocol)
    if kind not in _READERS:
        raise MoleculeError(f"{path}: {LIGAND if is_ligand(text) else f'no ATOM records found; {EXPECTED}'}")
    records = _READERS[kind](text, path)
    if not records.atoms:
        raise MoleculeError(f"{path}: no ATOM records found; {EXPECTED}")
    try:
        return _complete(records, force_field, protocol)
    except MoleculeError as error:
        raise MoleculeError(f"{path}: {error}") from error


def _complete(records: Records, force_field: app.ForceField, protocol: Protocol) -> Molecule:
    options = protocol.inputs
    residues, notes = choose(records, options)
    residues = _without_solvent(residues, protocol, notes)
    check_positions(residues)
    for residue in residues:  # force fields of proteins do not have the hydrogen of a neutral C-terminal acid
        if residue.name in AMINO_ACIDS and residue.get("OXT") is not None and residue.get("HXT") is not None:
            residue.atoms = [atom for atom in residue.atoms if atom.name != "HXT"]
            notes.append(f"the end {residue} is taken as charged, without its hydrogen HXT")
    found = connect(residues, records)
    with repair.repeatable():
        before = {residue.label(atom.name) for residue in residues for atom in residue.atoms}
        fill = close_gaps(found, records, options)
        refuse_unbonded(found)
        if not protocol.force_field:
            refuse_lone(found)
        repair.add_heavy_atoms(found, fill)
        found.notes += left_out(found, records)
        topology, positions, order, changed = repair.add_hydrogens(found, force_field, options.ph)
        check_bonds(topology, positions)
        refuse_unknown(topology, order, force_field, protocol)
        for residue, name in zip(topology.residues(), repair.states(topology), strict=True):
            residue.name = name
        labels = (order[atom.residue.index].label(atom.name) for atom in topology.atoms())
        added = [label for label in labels if label not in before]
        notes += found.notes + _notes(topology, positions, order, changed, options)
        if protocol.solvent == "explicit":
            topology, positions, water = solvated(topology, positions, force_field, options)
            added += water
    system = parametrise(topology, force_field, protocol)
    if fill and protocol.solvent != "explicit":
        positions = repair.relaxed(topology, system, positions)
        notes.append("the whole molecule was relaxed by 4 ps of MD at 600 K and a minimisation, for what was modelled")
        check_bonds(topology, positions)
    if protocol.solvent != "explicit":
        check_charge(topology, system)
    return Molecule(topology, system, positions=positions, protocol=protocol, added=tuple(added), notes=tuple(notes))


def _without_solvent(residues: list[Residue], protocol: Protocol, notes: list[str]) -> list[Residue]:
    """Leave out water and ions where the solvent is a continuum or nothing."""
    if protocol.solvent == "explicit":
        return residues
    left = [r for r in residues if r.name == "HOH" or (r.name in IONS and len(r.atoms) == 1)]
    if not left:
        return residues
    kept = [residue for residue in residues if residue not in left]
    if not kept:
        raise MoleculeError("only water and ions are there; simulate them with --solvent explicit")
    names = [residue.found for residue in left]
    counts = ", ".join(f"{names.count(name)} {name}" for name in sorted(set(names)))
    notes.append(f"water and ions left out ({counts}); --solvent explicit keeps them")
    return kept


def _notes(
    topology: app.Topology, positions: unit.Quantity, residues: list[Residue], changed: bool, options: InputOptions
) -> list[str]:
    notes = []
    names = [residue.name for residue in topology.residues()]
    if changed or any(r.state for r in residues if r.name in repair.TITRATABLE):
        notes += repair.protonation_note(residues, names, options.ph)
    allo = [residues[i] for i in allo_side_chains(topology, in_nm(positions))]
    hands = handedness(topology, in_nm(positions))
    unlike = [residues[i] for i, hand in hands.items() if hand == "D" and residues[i].found in AMINO_ACIDS]
    notes += [f"D amino acids by their geometry, though named as L: {listed(unlike)}"] if unlike else []
    notes += [f"side chains of the other handedness (allo): {listed(allo)}"] if allo else []
    wrong = [residues[i] for i, hand in hands.items() if hand == "L" and residues[i].found in D_AMINO_ACIDS]
    if wrong:
        raise MoleculeError(f"{listed(wrong)} has the name of a D amino acid and the geometry of an L one; correct one")
    return notes
