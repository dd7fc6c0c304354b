"""Shape of chains beside the reference's: contacts, secondary structure, radius of gyration, RMSD, native motion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import mdtraj
import numpy as np

from latentmd.analysis import statistics
from latentmd.analysis.features import molecules_of, superposed
from latentmd.analysis.metric import Document, Metric
from latentmd.arrays import Bools, Floats
from latentmd.molecule.bonds import nearest_steps
from latentmd.report import figures
from latentmd.report.page import Section

_FEWEST = 4  # residues from which on a molecule is a chain
_FEWEST_FOLDED = 5  # residues from which on a chain has secondary structure
_CONTACT, _APART = 0.45, 3  # nm between heavy atoms, and residues along the chain
KINDS = {"helix": "H", "strand": "E"}  # of secondary structure, as mdtraj's DSSP names them


@dataclass(frozen=True)
class Shape:
    """Shape of every frame of a set: RMSD to a structure and radius of gyration of heavy atoms (frames,) in nm;
    contacts (frames, pairs), heavy atoms within 0.45 nm, of `pairs` of residues three apart or more; secondary
    structure (frames, residues) of `KINDS`, none of short chains; positions of heavy atoms (frames, atoms, 3) in nm;
    of several molecules the distance (frames,) of the nearest heavy atoms of the first and the others in nm.
    """

    rmsd: Floats
    gyration: Floats
    pairs: list[tuple[int, int]]
    contacts: Bools
    secondary: dict[str, Bools]
    heavy: Floats
    apart: Floats

    def mean(self, chosen: Bools) -> Document:
        """Means over chosen frames (frames,): nm, and contacts formed."""
        rmsd, gyration = float(self.rmsd[chosen].mean()), float(self.gyration[chosen].mean())
        found: Document = {"rmsd_nm": rmsd, "gyration_nm": gyration}
        return found | ({"contacts": float(self.contacts[chosen].sum(axis=1).mean())} if self.pairs else {})


def shape_of(frames: Floats, topology: mdtraj.Topology, first: Floats) -> Shape:
    """Measure frames (frames, atoms, 3) in nm, RMSD to a structure (atoms, 3)."""
    heavy = topology.select("element != H")
    part, count = topology.subset(heavy), topology.n_residues
    molecules = molecules_of(part)
    of = {part.atom(int(i)).residue.index: number for number, atoms in enumerate(molecules) for i in atoms}
    x = np.asarray(frames[:, heavy], dtype=np.float32)
    trajectory, pairs = mdtraj.Trajectory(x, part), []
    contacts, secondary = np.zeros((len(x), 0), dtype=bool), {}
    every = [(i, j) for i in range(count) for j in range(i + 1, count)]
    pairs = [(i, j) for i, j in every if of[i] != of[j] or (count >= _FEWEST and j - i >= _APART)]
    if pairs:
        contacts = mdtraj.compute_contacts(trajectory, pairs, scheme="closest-heavy", periodic=False)[0] < _CONTACT
    if count >= _FEWEST_FOLDED and len(part.select("protein and name CA")) >= _FEWEST_FOLDED:
        letters = mdtraj.compute_dssp(trajectory)
        secondary = {name: letters == letter for name, letter in KINDS.items()}
    rmsd = superposed(x, np.asarray(first[heavy], dtype=np.float32))[1]
    apart = nearest_steps(x, molecules[0], np.concatenate(molecules[1:]))[1] if len(molecules) > 1 else x[:, 0, 0][:0]
    gyration = mdtraj.compute_rg(trajectory, np.ones(x.shape[1]))  # every atom weighing the same
    return Shape(rmsd, gyration, pairs, contacts, secondary=secondary, heavy=x, apart=apart)


def shape_metrics(sets: Mapping[str, Shape]) -> list[Metric]:
    """Shape of the generated set beside the reference's, of four residues or several molecules. The floor of contacts
    and secondary structure is between the halves of the reference, that of distances (RMSD to its first frame) holds
    for independent frames.
    """
    md, own = sets["reference"], sets["generated"]
    if not md.pairs:
        return []
    half, rows = len(md.rmsd) // 2, []
    for name, theirs, ours in (
        ("contact probabilities", md.contacts, own.contacts),
        *((f"share of {kind} per residue", md.secondary[kind], own.secondary[kind]) for kind in md.secondary),
    ):
        error, floor = (
            float(np.abs(a.mean(axis=0) - b.mean(axis=0)).mean())
            for a, b in ((theirs, ours), (theirs[:half], theirs[half:]))
        )
        rows.append(Metric(f"{name}, mean absolute error", "shape", error, floor=floor, note="floor: halves"))
    for name, values in (
        ("radius of gyration", [md.gyration, own.gyration]),
        ("RMSD to the first reference frame", [md.rmsd, own.rmsd]),
        *([("distance between molecules", [md.apart, own.apart])] if len(md.apart) else []),
    ):
        grid = statistics.joint_grid(*values)
        counts = [grid.counts(v) for v in values]
        floor = statistics.analytic_floor(int(np.count_nonzero(counts[0])), *map(float, map(len, values)))
        rows.append(Metric(f"JS distance, {name}", "shape", statistics.js_distance(*counts), floor=floor))
    motion = [_fluctuations(s.heavy) for s in (md, own)]
    alike = float(np.corrcoef(motion[0], motion[1])[0, 1])
    rows.append(Metric("RMSF, correlation with the reference's", "shape", alike))
    rows.append(Metric("RMSF, mean", "shape", float(motion[1].mean()), "nm", float(motion[0].mean())))
    return rows


def shape_sections(sets: Mapping[str, Shape], topology: mdtraj.Topology) -> list[Section]:
    """Contact map, secondary structure by residue, distributions of radius of gyration and RMSD of chains."""
    if not sets["reference"].pairs:
        return []
    first, numbers = next(iter(sets.values())), [r.resSeq for r in topology.residues]
    drawn = [("gyration", "radius of gyration"), ("rmsd", "RMSD")]
    drawn += [("apart", "distance between molecules")] if len(first.apart) else []
    made, axes = figures.figure(1, 1 + len(drawn) + len(first.secondary), width=2.7)
    size = topology.n_residues
    plane, (i, j) = np.full((size, size), np.nan), np.array(first.pairs).T
    plane[j, i], plane[i, j] = (sets[name].contacts.mean(axis=0) for name in ("reference", "generated"))
    ticks = np.linspace(0, size - 1, min(size, 6)).astype(int)
    image = axes[0].imshow(plane.T, origin="lower", cmap="magma_r", vmin=0, vmax=1)
    axes[0].set(title="contacts", xlabel="generated", ylabel="reference", xticks=ticks, yticks=ticks)
    axes[0].set(xticklabels=[numbers[t] for t in ticks], yticklabels=[numbers[t] for t in ticks])
    made.colorbar(image, ax=axes[0], shrink=0.8)
    for name, s in sets.items():
        colour = figures.COLOURS[name]
        for axis, (kind, held) in zip(axes[1:], s.secondary.items(), strict=False):
            axis.plot(range(size), held.mean(axis=0), "o-", ms=3, lw=1.2, color=colour, label=name)
            axis.set(title=f"{kind}, share of frames", ylim=(-0.02, 1.02), xticks=ticks, xlabel="residue")
            axis.set_xticklabels([numbers[t] for t in ticks])
        for axis, (what, title) in zip(axes[-len(drawn) :], drawn, strict=True):
            values = [getattr(other, what) for other in sets.values()]
            edges = np.linspace(min(v.min() for v in values), max(v.max() for v in values) + 1e-6, 61)
            axis.stairs(np.histogram(getattr(s, what), edges, density=True)[0], edges, color=colour, label=name)
            axis.set(title=title, xlabel="nm", yticks=[])
    axes[1].legend(frameon=False, fontsize=8)
    caption = (
        "Contacts of heavy atoms within 0.45 nm, secondary structure by DSSP, RMSD of heavy atoms to the first frame"
    )
    return [Section("Shape", figures=[(figures.png(made), caption)])]


def shape_record(sets: Mapping[str, Shape], topology: mdtraj.Topology) -> Document:
    """Shares of secondary structure by residue and probabilities of contacts by pair, of named sets, for JSON."""
    first = next(iter(sets.values()))
    shares = {kind: {n: s.secondary[kind].mean(axis=0) for n, s in sets.items()} for kind in first.secondary}
    contacts = {"pairs": first.pairs, **{n: s.contacts.mean(axis=0) for n, s in sets.items()}}
    return {"residues": [str(r) for r in topology.residues], "secondary_structure": shares, "contacts": contacts}


def _fluctuations(frames: Floats) -> Floats:
    """RMSF (atoms,) in nm about the mean structure, which the frames are laid on twice."""
    mean = frames[0]
    for _ in range(2):
        laid, _ = superposed(frames, mean)
        mean = laid.mean(axis=0)
    return np.asarray(np.sqrt(np.square(laid - mean).sum(axis=2).mean(axis=0)), dtype=np.float64)
