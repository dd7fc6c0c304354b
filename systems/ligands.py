"""Small organic molecules from SDF, MOL2 or SMILES, with OpenFF Sage and charges of a graph network.

RDKit reads, completes and embeds them; OpenFF assigns parameters. A molecule that leaves something open (undefined
stereocentres, several molecules, radicals, elements without parameters) is refused in one sentence.
"""

from __future__ import annotations

import contextlib
import copy
import io
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree import ElementTree

import numpy as np
import openmm
from openmm import app, unit

from latentmd.systems.molecule import Molecule
from latentmd.systems.own_force_field import identity, repartition
from latentmd.systems.parametrise import CUTOFF, solvated, with_native_obc2
from latentmd.systems.protocol import InputOptions, MoleculeError, Protocol
from latentmd.systems.readers.text import is_ligand, read_text, source_kind
from latentmd.systems.sanity import check_bonds
from latentmd.units import first_line

if TYPE_CHECKING:
    from rdkit.Chem import Atom, Mol

SAGE, CHARGES = "openff-2.3.0.offxml", "openff-gnn-am1bcc-1.0.0.pt"  # Sage 2.3.0 was fitted with these charges
_OBC2, _GBN2 = "implicit/obc2.xml", "implicit/gbn2.xml"
_ELEMENTS = {"H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I"}  # of Sage and of the charges
_MOST = 400  # atoms; what the charges and chains were never meant for is refused before minutes are spent on it
_FLAT = 1e-3  # angstrom; thinner coordinates are a drawing
_SEED = 7  # of embedding


def build_ligand(source: Path, protocol: Protocol) -> Molecule:
    """Parametrised molecule of an SDF or MOL2 file or a SMILES; `force_field` names OpenFF's and the solvent's."""
    try:
        mol, notes = read_ligand(source, protocol.inputs)
        field, born = _choice(protocol)
        wet = protocol.solvent == "explicit"
        mol, block, more = _complete(mol)
        topology = _topology(mol)
        system = copy.deepcopy(_sage(block, field))
    except MoleculeError as error:
        raise MoleculeError(f"{source}: {error}") from error
    if born:
        system = with_native_obc2(_in_solvent(system, topology, born))
    positions = np.array(mol.GetConformer().GetPositions()) / 10
    check_bonds(topology, positions)
    notes += more + repartition(system, topology, protocol)
    notes.append(f"force field {field}, charges {CHARGES}, {protocol.inputs.water if wet else born or 'vacuum'}")
    quantity, added = unit.Quantity(positions, unit.nanometer), list[str]()
    if wet:
        topology, system, quantity, added = _in_water(topology, system, quantity, protocol.inputs)
    named, own = replace(protocol, force_field=(identity(system),)), (field, CHARGES)
    molecule = Molecule(topology, system, quantity, named, notes=tuple(notes), added=tuple(added))
    return replace(molecule, ligand=block, own_force_field=own)


def records(source: Path, inputs: InputOptions, isomers: bool = False) -> dict[str, InputOptions]:
    """Molecules of a file or SMILES by name, with the options that read each; `isomers` makes one of each isomer."""
    if isomers:
        mol = read_ligand(source, inputs)[0]
        from rdkit.Chem import EnumerateStereoisomers, MolToSmiles, RemoveHs

        mol = RemoveHs(mol)
        found = sorted({MolToSmiles(one) for one in EnumerateStereoisomers.EnumerateStereoisomers(mol)})
        return {f"{source.stem}-{i}": replace(inputs, smiles=text) for i, text in enumerate(found, 1)}
    if inputs.smiles is not None or inputs.model_number is not None or source_kind(source, inputs) != "ligand":
        return {source.stem: inputs}
    blocks = _blocks(read_text(source))
    if len(blocks) == 1:
        return {source.stem: inputs}
    titles = [block.split("\n", 1)[0].strip().replace("/", "-") or source.stem for block in blocks]
    return {f"{i:03d}-{title}": replace(inputs, model_number=i) for i, title in enumerate(titles, 1)}


def sided_bonds(ligand: str) -> frozenset[tuple[int, ...]]:
    """Double bonds whose side (E or Z) a MOL block gives, as sorted pairs of atoms; not C=N–H, which turns over."""
    if not ligand:
        return frozenset()
    from rdkit import Chem

    mol = Chem.MolFromMolBlock(ligand, removeHs=False)
    Chem.AssignStereochemistryFrom3D(mol)
    found = []
    for bond in mol.GetBonds():
        ends = bond.GetBeginAtom(), bond.GetEndAtom()
        turns = any(atom.GetSymbol() == "N" and atom.GetTotalNumHs(includeNeighbors=True) for atom in ends)
        if bond.GetStereo() > Chem.BondStereo.STEREOANY and not turns:
            found.append(tuple(sorted(atom.GetIdx() for atom in ends)))
    return frozenset(found)


def read_ligand(source: Path, inputs: InputOptions) -> tuple[Mol, list[str]]:
    """Sanitised molecule, one covalent unit of known elements, and notes on what was left out."""
    with _quiet():
        try:
            from rdkit import Chem
        except ImportError as error:
            raise MoleculeError(_missing(error)) from error
        mol = _read(source, inputs)
        if mol is None or not mol.GetNumAtoms():
            raise MoleculeError("RDKit finds no molecule in it; expected an SDF file or SMILES with atoms and bonds")
        if any(not atom.GetAtomicNum() or atom.HasQuery() for atom in mol.GetAtoms()):
            raise MoleculeError("has open ends or placeholders (R groups, *, a polymer); write the whole molecule")
        _sanitise(mol)
        notes: list[str] = []
        parts = Chem.GetMolFrags(mol, asMols=True, sanitizeFrags=False)
        if len(parts) > 1:
            names = ", ".join(Chem.MolToSmiles(Chem.RemoveHs(part, sanitize=False)) for part in parts)
            if not inputs.strip_salts:
                raise MoleculeError(f"holds {len(parts)} molecules ({names}); add --strip-salts to keep the largest")
            mol = max(parts, key=lambda part: part.GetNumHeavyAtoms())
            _sanitise(mol)
            notes.append(f"of {names} only the largest is kept, with its charge of {Chem.GetFormalCharge(mol):+d}")
        others = sorted({atom.GetSymbol() for atom in mol.GetAtoms()} - _ELEMENTS)
        if others:
            known = ", ".join(sorted(_ELEMENTS))
            raise MoleculeError(f"holds {', '.join(others)}, without parameters in {SAGE}; expected only {known}")
        radicals = [_label(atom) for atom in mol.GetAtoms() if atom.GetNumRadicalElectrons()]
        if radicals:
            raise MoleculeError(f"unpaired electrons at {', '.join(radicals)}: add the missing hydrogens or charges")
    return mol, notes


def _read(source: Path, inputs: InputOptions) -> Mol | None:
    from rdkit import Chem
    from rdkit.Chem import AllChem

    if inputs.smiles is None:
        text = read_text(source)
        if "@<TRIPOS>MOLECULE" in text:
            return Chem.MolFromMol2Block(text, sanitize=False, removeHs=False)
        blocks, number = _blocks(text), inputs.model_number or 1
        if not 1 <= number <= len(blocks):
            raise MoleculeError(f"has {len(blocks)} molecules, and --model-number is {number}")
        return Chem.MolFromMolBlock(blocks[number - 1], sanitize=False, removeHs=False)
    given = Chem.MolFromSmiles(inputs.smiles, sanitize=False)
    if given is None:
        raise MoleculeError(f"{inputs.smiles!r} is no SMILES; expected one such as 'CC(=O)Oc1ccccc1C(=O)O'")
    if not source.is_file() or is_ligand(read_text(source)):
        return given
    _sanitise(given)
    mol = Chem.MolFromPDBBlock(read_text(source), removeHs=True)
    try:
        return Chem.AddHs(AllChem.AssignBondOrdersFromTemplate(Chem.RemoveHs(given), mol), addCoords=True)
    except ValueError as error:
        raise MoleculeError(f"its heavy atoms and bonds are not those of --smiles {inputs.smiles}") from error


def _sanitise(mol: Mol) -> None:
    from rdkit import Chem

    try:
        Chem.SanitizeMol(mol)
    except ValueError as error:
        raise MoleculeError(f"no valid molecule: {first_line(error)}; correct its bonds or formal charges") from error


def _complete(mol: Mol) -> tuple[Mol, str, list[str]]:
    """A molecule with all hydrogens, known stereochemistry and a structure, its MOL block, and notes."""
    from rdkit import Chem
    from rdkit.Chem import AllChem

    notes: list[str] = []
    places = mol.GetConformer().GetPositions() if mol.GetNumConformers() else np.zeros((mol.GetNumAtoms(), 3))
    solid = mol.GetNumConformers() and (mol.GetNumAtoms() == 1 or np.ptp(places, axis=0).min() > _FLAT)
    if solid:
        Chem.AssignStereochemistryFrom3D(mol)
    elif mol.GetNumConformers():
        Chem.AssignChiralTypesFromBondDirs(mol)
        Chem.SetDoubleBondNeighborDirections(mol)
    Chem.AssignStereochemistry(mol, cleanIt=not solid, force=not solid)
    _refuse_undefined(mol, notes)
    before = mol.GetNumAtoms()
    mol = Chem.AddHs(mol, addCoords=bool(solid))
    if mol.GetNumAtoms() > before:
        notes.append(f"{mol.GetNumAtoms() - before} hydrogens added")
    if mol.GetNumAtoms() > _MOST:
        raise MoleculeError(f"{mol.GetNumAtoms()} atoms; expected a small molecule of at most {_MOST}")
    if not solid:
        settings = AllChem.ETKDGv3()
        settings.randomSeed = _SEED
        embed = AllChem.EmbedMolecule
        if embed(mol, settings) and embed(mol, useRandomCoords=True, randomSeed=_SEED):
            raise MoleculeError("RDKit finds no structure for it: its stereochemistry or rings do not close")
        notes.append("has no 3-D structure: the start is one of RDKit's (ETKDGv3)")
    return mol, str(Chem.MolToV3KMolBlock(mol)), notes


def _refuse_undefined(mol: Mol, notes: list[str]) -> None:
    """Refuse undefined stereocentres and double bonds; C=N–H, whose hydrogen turns over, is only noted."""
    from rdkit import Chem

    undefined, free = list[str](), list[str]()
    for found in Chem.FindPotentialStereo(mol):
        if found.specified != Chem.StereoSpecified.Unspecified:
            continue
        if found.type == Chem.StereoType.Atom_Tetrahedral:
            undefined.append(_label(mol.GetAtomWithIdx(found.centeredOn)))
        elif found.type == Chem.StereoType.Bond_Double:
            bond = mol.GetBondWithIdx(found.centeredOn)
            ends = bond.GetBeginAtom(), bond.GetEndAtom()
            imine = any(a.GetSymbol() == "N" and a.GetTotalNumHs(includeNeighbors=True) for a in ends)
            (free if imine else undefined).append("=".join(_label(atom) for atom in ends))
    if undefined:
        raise MoleculeError(f"undefined stereochemistry at {', '.join(undefined)}; define it, or add --enumerate")
    if free:
        notes.append(f"the side of the hydrogen of {', '.join(free)} is the start's")


@lru_cache(maxsize=4)
def _sage(block: str, field: str) -> openmm.System:
    """System of a MOL block in vacuum, bonds to hydrogen constrained."""
    from rdkit import Chem

    with _quiet(), warnings.catch_warnings(action="ignore"):  # deprecations of OpenFF's dependencies
        try:
            from openff.toolkit import ForceField
            from openff.toolkit import Molecule as OpenFFMolecule
            from openff.toolkit.utils.nagl_wrapper import NAGLToolkitWrapper
        except ImportError as error:
            raise MoleculeError(_missing(error)) from error
        try:
            mol = OpenFFMolecule.from_rdkit(Chem.MolFromMolBlock(block, removeHs=False), allow_undefined_stereo=True)
            mol.assign_partial_charges(CHARGES, toolkit_registry=NAGLToolkitWrapper())
            made = ForceField(field).create_interchange(mol.to_topology(), charge_from_molecules=[mol])
            system: openmm.System = made.to_openmm(combine_nonbonded_forces=True)
        except Exception as error:
            raise MoleculeError(f"{field} with {CHARGES} cannot describe it: {first_line(error)}") from error
    removers = [i for i, force in enumerate(system.getForces()) if isinstance(force, openmm.CMMotionRemover)]
    for index in reversed(removers):
        system.removeForce(index)
    return system


def _choice(protocol: Protocol) -> tuple[str, str]:
    """OpenFF force field and implicit solvent ("" for vacuum) of a protocol."""
    fields = [name for name in protocol.force_field if name.endswith(".offxml")]
    born = [name for name in protocol.force_field if name in (_OBC2, _GBN2)]
    others = set(protocol.force_field) - {*fields, *born}
    if (others and protocol.force_field[0].startswith("system:")) or not others:
        return (fields or [SAGE])[0], (born or [_OBC2])[0] if protocol.solvent == "implicit" else ""
    raise MoleculeError(f"--force-field {sorted(others)[0]}: expected an .offxml of OpenFF, {_OBC2} or {_GBN2}")


def _in_solvent(system: openmm.System, topology: app.Topology, born: str) -> openmm.System:
    """Add generalised Born solvent with the standard radii of its model (mbondi2 or mbondi3) and a surface term."""
    from openmm.app.internal.customgbforces import GBSAGBn2Force, GBSAOBC2Force

    kind = {_OBC2: GBSAOBC2Force, _GBN2: GBSAGBn2Force}[born]
    charged = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    force = kind(SA="ACE")
    for index, parameters in enumerate(kind.getStandardParameters(topology)):
        force.addParticle([charged.getParticleParameters(index)[0]._value, *parameters])
    force.finalize()
    system.addForce(force)
    return system


def _in_water(
    topology: app.Topology, system: openmm.System, positions: unit.Quantity, inputs: InputOptions
) -> tuple[app.Topology, openmm.System, unit.Quantity, list[str]]:
    """A molecule in a box of water and ions: the System of the box, with the molecule's own terms put into it."""
    field = app.ForceField(f"amber14/{inputs.water}.xml")
    field.loadFile(io.StringIO(_template(topology, system)))
    topology, positions, added = solvated(topology, positions, field, inputs)
    whole = field.createSystem(topology, nonbondedMethod=app.PME, nonbondedCutoff=CUTOFF * unit.nanometer)
    for i in range(system.getNumParticles()):
        whole.setParticleMass(i, system.getParticleMass(i))
    for i in range(system.getNumConstraints()):
        whole.addConstraint(*system.getConstraintParameters(i))
    for force in system.getForces():
        if not isinstance(force, openmm.NonbondedForce):
            whole.addForce(copy.deepcopy(force))
    own, others = (next(f for f in s.getForces() if isinstance(f, openmm.NonbondedForce)) for s in (system, whole))
    for i in range(own.getNumExceptions()):
        others.addException(*own.getExceptionParameters(i), replace=True)
    return topology, whole, positions, added


def _template(topology: app.Topology, system: openmm.System) -> str:
    """Force field of a molecule as OpenMM's XML, without bonded terms: what it takes to put water around it."""
    charged = next(force for force in system.getForces() if isinstance(force, openmm.NonbondedForce))
    root = ElementTree.Element("ForceField")
    types, residue = ElementTree.SubElement(root, "AtomTypes"), ElementTree.Element("Residue", name="LIG")
    ElementTree.SubElement(root, "Residues").append(residue)
    terms = ElementTree.SubElement(root, "NonbondedForce", coulomb14scale="0.833333", lj14scale="0.5")
    ElementTree.SubElement(terms, "UseAttributeFromResidue", name="charge")
    for atom in topology.atoms():
        charge, sigma, epsilon = (str(value._value) for value in charged.getParticleParameters(atom.index))
        name, symbol = f"LIG-{atom.index}", atom.element.symbol
        mass = str(system.getParticleMass(atom.index)._value)
        ElementTree.SubElement(types, "Type", {"name": name, "class": name, "element": symbol, "mass": mass})
        ElementTree.SubElement(residue, "Atom", {"name": atom.name, "type": name, "charge": charge})
        ElementTree.SubElement(terms, "Atom", {"type": name, "sigma": sigma, "epsilon": epsilon})
    for first, second in topology.bonds():
        ElementTree.SubElement(residue, "Bond", atomName1=first.name, atomName2=second.name)
    return ElementTree.tostring(root, encoding="unicode")


def _topology(mol: Mol) -> app.Topology:
    topology, element = app.Topology(), app.Element.getByAtomicNumber
    residue = topology.addResidue("LIG", topology.addChain("A"))
    atoms = [topology.addAtom(_label(a).upper(), element(a.GetAtomicNum()), residue) for a in mol.GetAtoms()]
    for bond in mol.GetBonds():
        topology.addBond(atoms[bond.GetBeginAtomIdx()], atoms[bond.GetEndAtomIdx()])
    return topology


def _blocks(text: str) -> list[str]:
    parts = [part.removeprefix("\n") if i else part for i, part in enumerate(text.split("$$$$"))]
    return [part for part in parts if part.strip()]


def _label(atom: Atom) -> str:
    return f"{atom.GetSymbol()}{atom.GetIdx() + 1}"


def _missing(error: ImportError) -> str:
    return f"small molecules need RDKit and OpenFF ({error}); pip install 'latentmd[ligands]'"


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep RDKit from printing about what is raised, too."""
    try:
        from rdkit import rdBase
    except ImportError:
        yield
        return
    with rdBase.BlockLogs():
        yield
