"""Conformers of a small molecule from exact chains: `conformers.sdf`, the numbered drawing, and what was left alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.io.atomic import write_text
from latentmd.report.markup import bullets, table
from latentmd.report.page import Section
from latentmd.sampling.metropolis.populations import RAREST, Populations
from latentmd.sampling.metropolis.segments import CONFORMERS
from latentmd.sampling.metropolis.settings import ChainsRun
from latentmd.units import KILOCALORIE, thermal_energy

_MOST = 100  # conformers written
_TEXT = (
    "A conformer is a combination of wells of all torsions; its structure is the frame nearest to the mean of its "
    "torsions. Bonds in the drawing are numbered as in the table of torsions; atoms are numbered as in the file."
)


@dataclass(frozen=True)
class Basin:
    """A combination of wells, one of each torsion that has several; its share of the frames with the standard error."""

    wells: tuple[str, ...]
    population: float
    error: float
    frame: int  # row of the most typical one, all chains one after another


def basins(found: Populations, angles: Floats) -> list[Basin]:
    """Combinations of wells of at least 1 %, the most populated first; the very first whatever its population.

    Angles of kept frames are in radians, shape (chains, frames, torsions), twins behind.
    """
    turns = list(dict.fromkeys(well.turn for well in found.wells if not well.only))
    groups = [[well for well in found.wells if well.turn == turn] for turn in turns]
    shape = angles.shape[:2]
    columns = [np.argmax([well.inside(angles) for well in group], axis=0).ravel() for group in groups]
    states = np.stack(columns, axis=1) if columns else np.zeros((shape[0] * shape[1], 0), dtype=np.int64)
    kinds, labels = np.unique(states, axis=0, return_inverse=True)
    labels = labels.ravel()
    phases = [well.turn.degrees(angles).ravel() * (2 * np.pi / well.turn.period) for well in found.wells]
    points = np.exp(1j * np.stack(phases, axis=1)) if phases else np.ones((len(labels), 1), dtype=complex)
    made = []
    for number, kind in enumerate(kinds):
        inside = (labels == number).astype(np.float64)
        share = float(inside.mean())
        error = float(np.sqrt(share * (1 - share) / max(effective_samples(list(inside.reshape(shape))), 1.0)))
        rows = np.flatnonzero(inside)
        typical = rows[np.argmax((points[rows] * points[rows].mean(axis=0).conj()).real.sum(axis=1))]
        names = tuple(group[i].name for group, i in zip(groups, kind.tolist(), strict=True))
        made.append(Basin(names, share, error, int(typical)))
    made.sort(key=lambda basin: -basin.population)
    return made[:1] + [basin for basin in made[1:_MOST] if basin.population >= RAREST]


def write_conformers(run: ChainsRun, found: list[Basin], positions: Floats, energies: Floats) -> None:
    """Write `conformers.sdf`: each basin's structure, superposed on the first, with its numbers as tags.

    Positions (chains, frames, atoms, 3) are in nm, energies (chains, frames) in kJ/mol.
    """
    places, values = positions.reshape(-1, *positions.shape[2:]), energies.ravel()
    structures = []
    for number, (basin, free) in enumerate(zip(found, _free_energies(run, found), strict=True), 1):
        tags = {
            "population": f"{basin.population:.4f}",
            "population_standard_error": f"{basin.error:.4f}",
            "free_energy_kcal_per_mol": f"{free:.3f}",
            "potential_energy_kJ_per_mol": f"{values[basin.frame]:.2f}",
            "wells": "; ".join(basin.wells) or "one well of each torsion",
        }
        structures.append((f"{run.folder.name} {number}", places[basin.frame], tags))
    write_sdf(run.folder / CONFORMERS, run.molecule.ligand, structures)


def write_sdf(path: Path, block: str, structures: Iterable[tuple[str, Floats, dict[str, str]]]) -> None:
    """Write structures of a MOL block's molecule, superposed on the first: title, (atoms, 3) in nm and tags of each."""
    from rdkit import Chem
    from rdkit.Chem import rdMolAlign

    first, blocks = None, []
    for title, positions, tags in structures:
        mol = Chem.MolFromMolBlock(block, removeHs=False)
        mol.GetConformer().SetPositions(positions.astype(np.float64) * 10)
        first = first or Chem.Mol(mol)
        heavy = [(a.GetIdx(), a.GetIdx()) for a in mol.GetAtoms() if a.GetAtomicNum() > 1]
        rdMolAlign.AlignMol(mol, first, atomMap=heavy)
        for name, value in {"_Name": title, **tags}.items():
            mol.SetProp(name, value)
        blocks.append(Chem.SDWriter.GetText(mol))
    write_text(path, "".join(blocks))


def conformer_section(run: ChainsRun, counted: Populations, angles: Floats) -> Section:
    """Part of the page with the drawing, the torsions, the conformers and what was not sampled."""
    found = basins(counted, angles)
    rows = [
        (str(i), f"{100 * basin.population:.3g} ± {100 * basin.error:.2g} %", f"{free:.2f}", "; ".join(basin.wells))
        for i, (basin, free) in enumerate(zip(found, _free_energies(run, found), strict=True), 1)
    ]
    turns, ligand = list(dict.fromkeys(well.turn for well in counted.wells)), run.molecule.ligand
    bonds = table(("bond", "torsion"), [(str(i), turn.name) for i, turn in enumerate(turns, 1)])
    heads = ("conformer", "population", "free energy (kcal/mol)", "wells")
    drawn = [(drawing(ligand, run.quads[[turn.torsion for turn in turns]]), "bonds as numbered in the table")]
    return Section("Conformers", _TEXT, table(heads, rows) + bonds + bullets(not_sampled(ligand)), drawn)


def not_sampled(ligand: str) -> list[str]:
    """Sentences on what of the input, a MOL block, no move could change; `Plan.not_sampled` says the rest."""
    from rdkit import Chem

    mol = Chem.MolFromMolBlock(ligand, removeHs=False)
    Chem.AssignStereochemistryFrom3D(mol)
    centres = [f"{mol.GetAtomWithIdx(i).GetSymbol()}{i + 1} ({hand})" for i, hand in Chem.FindMolChiralCenters(mol)]
    said = [f"Not sampled: tautomers and protonation, which stay as given (net charge {Chem.GetFormalCharge(mol):+d})"]
    if centres:
        said.append(f"Not sampled: stereocentres, which stay {', '.join(centres)}")
    return said


def _free_energies(run: ChainsRun, found: list[Basin]) -> Doubles:
    """Free energies in kcal/mol above the first basin, shape (basins,)."""
    shares = np.array([basin.population for basin in found], dtype=np.float64)
    kt = thermal_energy(run.molecule.protocol.temperature) / KILOCALORIE
    return np.asarray(-kt * np.log(shares / shares[0]) + 0.0)


def drawing(ligand: str, quads: Ints) -> bytes:
    """PNG of the molecule without its hydrogens on carbon, the bonds of torsions numbered from 1."""
    from rdkit import Chem
    from rdkit.Chem import rdDepictor
    from rdkit.Chem.Draw import rdMolDraw2D

    mol = Chem.MolFromMolBlock(ligand, removeHs=False)
    for atom in mol.GetAtoms():
        atom.SetProp("atomNote", str(atom.GetIdx() + 1))
    for number, quad in enumerate(quads.tolist(), 1):
        mol.GetBondBetweenAtoms(*quad[1:3]).SetProp("bondNote", f"[{number}]")
    mol = Chem.RemoveHs(mol)
    rdDepictor.Compute2DCoords(mol)
    drawer = rdMolDraw2D.MolDraw2DCairo(640, 420)
    drawer.drawOptions().annotationFontScale = 0.7
    rdMolDraw2D.PrepareAndDrawMolecule(drawer, mol)
    drawer.FinishDrawing()
    return bytes(drawer.GetDrawingText())
