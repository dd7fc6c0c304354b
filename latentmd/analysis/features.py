"""Features of trajectory files: torsions (or distances), structure checks and a few whole frames, read in one pass."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import mdtraj
import numpy as np
from mdtraj.geometry import dihedral

from latentmd.analysis.statistics import evenly
from latentmd.arrays import Floats, Ints
from latentmd.io.progress import Tick, silent
from latentmd.io.solute import Solute, solute_reader
from latentmd.molecule import checks as structure
from latentmd.molecule.bonds import components, within_two_bonds

CHUNK_COORDINATES = 1_500_000  # numbers per chunk: 6 MB, since larger blocks only miss the cache
MAX_DISTANCES, MAX_TICA_TORSIONS = 200, 400
_MOST_BETWEEN = 12  # distances between two molecules
KEPT_FRAMES = 2000  # whole frames kept per set, spread evenly: template, 3-D view


class EvaluationError(ValueError):
    """Trajectories that cannot be evaluated; the message says what was found, expected and what to do."""


@dataclass(frozen=True)
class FeatureSpec:
    """Internal coordinates that describe a molecule."""

    kind: Literal["torsions", "distances"]  #: in radians, or in nm for a molecule without named torsions
    names: tuple[str, ...]  #: for example "phi ALA2"
    indices: Ints  #: atoms of each feature, shape (features, 4) or (features, 2)
    pairs: tuple[tuple[int, int], ...]  #: (phi, psi) columns of each residue that has both
    #: atoms of distances between several molecules with torsions, (distances, 2): columns without a name, for TICA
    between: Ints = field(default_factory=lambda: np.zeros((0, 2), dtype=np.int64))

    def values(self, positions: Floats) -> Floats:
        """Features of frames in nm, shape (frames, features), float32."""
        measure = structure.torsions if self.kind == "torsions" else structure.bond_lengths
        found = [measure(positions, self.indices), structure.bond_lengths(positions, self.between)]
        return np.concatenate(found, axis=1, dtype=np.float32)

    def coordinates(self, values: Floats) -> Floats:
        """Input of TICA (frames, columns): cosines and sines of torsions (of many: of the backbone), and distances."""
        values, apart = np.split(np.asarray(values, dtype=np.float64), [len(self.names)], axis=1)
        if self.many:
            values = values[:, [self.is_backbone(column) for column in range(len(self.names))]]
        turned = [np.cos(values), np.sin(values)] if self.kind == "torsions" else [values]
        return np.concatenate([*turned, apart], axis=1)

    @property
    def many(self) -> bool:
        """Whether there are so many torsions that TICA is restricted to the backbone."""
        return self.kind == "torsions" and len(self.names) > MAX_TICA_TORSIONS

    def is_backbone(self, column: int) -> bool:
        """Whether a feature is a backbone torsion."""
        return self.names[column].startswith(("phi", "psi", "alpha", "beta", "gamma", "delta", "epsilon", "zeta"))


def feature_spec(topology: mdtraj.Topology) -> FeatureSpec:
    """Backbone and side-chain torsions of a peptide; heavy-atom distances where there are none."""
    found = torsion_spec(topology)
    return replace(found, between=_between(topology)) if found else _distances(topology)


#: Torsions of nucleotides, by atoms of the residue, the one before (-) and after (+); of bases, purines and pyrimidines
#: (IUPAC-IUB, Eur. J. Biochem. 131, 9, 1983).
_NUCLEIC = (
    ("alpha", "-O3' P O5' C5'"), ("beta", "P O5' C5' C4'"), ("gamma", "O5' C5' C4' C3'"), ("delta", "C5' C4' C3' O3'"),
    ("epsilon", "C4' C3' O3' +P"), ("zeta", "C3' O3' +P +O5'"), ("chi", "O4' C1' N9 C4"), ("chi", "O4' C1' N1 C2"),
)  # fmt: skip


def _nucleic_torsions(topology: mdtraj.Topology) -> Iterator[tuple[str, int, Ints]]:
    """Name, residue and atoms of each torsion of nucleotides that runs along bonds."""
    by_name = [{atom.name: atom.index for atom in residue.atoms} for residue in topology.residues]
    bonds = {frozenset((a.index, b.index)) for a, b in topology.bonds}
    steps = {"-": -1, "+": 1}
    for number in range(topology.n_residues):
        for label, path in _NUCLEIC:
            places = [(number + steps.get(name[0], 0), name.lstrip("+-")) for name in path.split()]
            quad = [by_name[k].get(name, -1) if 0 <= k < len(by_name) else -1 for k, name in places]
            if all(frozenset(pair) in bonds for pair in itertools.pairwise(quad)):
                yield label, number, np.array(quad, dtype=np.int64)


def residue_labels(topology: mdtraj.Topology) -> list[str]:
    """Name and number of every residue, such as "ALA2", with its chain where another has the same: "ALA2.B"."""
    plain = [f"{r.name}{r.resSeq}" for r in topology.residues]
    count = Counter(plain)
    chains = [chr(ord("A") + r.chain.index % 26) for r in topology.residues]
    return [name if count[name] == 1 else f"{name}.{chain}" for name, chain in zip(plain, chains, strict=True)]


def molecules_of(topology: mdtraj.Topology) -> list[Ints]:
    """Atoms of each molecule, as the bonds have it."""
    return [np.array(part) for part in components(topology.n_atoms, [(a.index, b.index) for a, b in topology.bonds])]


def residue_centres(topology: mdtraj.Topology) -> list[int]:
    """An atom of each residue, CA or the one with most bonds."""
    bonds = Counter(atom.index for bond in topology.bonds for atom in bond)
    found: dict[int, int] = {}
    for atom in sorted(topology.atoms, key=lambda atom: (atom.name != "CA", -bonds[atom.index])):
        found.setdefault(atom.residue.index, atom.index)
    return sorted(found.values())


def _between(topology: mdtraj.Topology) -> Ints:
    """Pairs of atoms, one of each residue, of different molecules."""
    found, ends = [], [np.intersect1d(part, residue_centres(topology)) for part in molecules_of(topology)]
    for first, second in itertools.combinations(ends, 2):
        every = list(itertools.product(first.tolist(), second.tolist()))
        found += [every[k] for k in evenly(len(every), _MOST_BETWEEN)]
    return np.array(found, dtype=np.int64).reshape(-1, 2)


def torsion_spec(topology: mdtraj.Topology) -> FeatureSpec | None:
    """Torsions of peptides and nucleotides (backbone, side chain or base); None of a molecule without these names."""
    names: list[str] = []
    quads: list[Ints] = []
    residues = residue_labels(topology)
    for label in ("phi", "psi", "chi1", "chi2", "chi3", "chi4", "chi5"):
        centre = 1 if label[:3] != "psi" else 0
        for quad in np.asarray(getattr(dihedral, f"indices_{label}")(topology), dtype=np.int64).reshape(-1, 4):
            names.append(f"{label} {residues[topology.atom(int(quad[centre])).residue.index]}")
            quads.append(quad)
    for label, number, along in _nucleic_torsions(topology):
        names.append(f"{label} {residues[number]}")
        quads.append(along)
    if not quads:
        return None
    column = {name: i for i, name in enumerate(names)}
    phis = [name[3:] for name in names if name.startswith("phi")]
    pairs = [(column[f"phi{r}"], column[f"psi{r}"]) for r in phis if f"psi{r}" in column]
    return FeatureSpec("torsions", tuple(names), np.stack(quads), tuple(pairs))


def _distances(topology: mdtraj.Topology) -> FeatureSpec:
    symbols, bonds = structure.topology_arrays(topology)
    heavy = [i for i, symbol in enumerate(symbols) if symbol not in ("H", "D", "VS")]
    near = within_two_bonds(len(symbols), bonds, np.array(heavy, dtype=np.int64))
    every = list(itertools.combinations(range(len(heavy)), 2))
    pairs = [(heavy[a], heavy[b]) for a, b in [(a, b) for a, b in every if not near[a, b]] or every]
    if not pairs:
        raise EvaluationError(f"the topology holds {len(heavy)} heavy atoms; expected two or more")
    chosen = [pairs[k] for k in evenly(len(pairs), MAX_DISTANCES)]
    names = [f"{topology.atom(i).name}-{topology.atom(j).name}" for i, j in chosen]
    return FeatureSpec("distances", tuple(names), np.array(chosen), ())


def superposed(frames: Floats, first: Floats) -> tuple[Floats, Floats]:
    """Frames (frames, atoms, 3) on a structure (atoms, 3), and their RMSD (frames,) in nm."""
    trajectory, target = (mdtraj.Trajectory(np.array(x, dtype=np.float32), None) for x in (frames, first[None]))
    trajectory.superpose(target)
    off = np.square(trajectory.xyz - target.xyz).sum(axis=2).mean(axis=1)
    return np.asarray(trajectory.xyz), np.asarray(np.sqrt(off), dtype=np.float64)


@dataclass
class StructureTotals:
    """Structure checks summed over frames: frames passed per check, bond and angle z-scores squared, largest |z|."""

    frames: int = 0
    passed: Counter[str] = field(default_factory=Counter)
    valid: int = 0
    bond_square: float = 0.0
    angle_square: float = 0.0

    def add(self, positions: Floats, template: structure.StructureTemplate) -> None:
        """Count one chunk of frames, nm, shape (frames, atoms, 3)."""
        scores = structure.frame_scores(positions, template)
        checks = scores.passed()
        self.frames += len(positions)
        self.passed.update({name: int(np.count_nonzero(passed)) for name, passed in checks.items()})
        self.valid += int(np.count_nonzero(np.all(list(checks.values()), axis=0)))
        bond, angle = (
            float(np.mean(np.square(z, dtype=np.float64))) * len(positions) if z.size else 0.0
            for z in (scores.bond_z, scores.angle_z)
        )
        self.bond_square += bond
        self.angle_square += angle


@dataclass
class FeatureSet:
    """One set of trajectories after a single pass over its files."""

    files: tuple[Path, ...]
    runs: list[Floats]  #: features per run, (frames, features)
    interval: float  #: ps between frames
    kept: Floats  #: whole frames in nm spread evenly over all runs, (kept, atoms, 3)
    totals: StructureTotals  #: empty where no template was given
    timeless: bool = False  #: a file carries no times, so that the interval is what the user said

    @property
    def frames(self) -> int:
        """Frames of all runs."""
        return sum(len(run) for run in self.runs)


def load_topology(path: Path) -> tuple[mdtraj.Topology, Floats]:
    """Topology and coordinates (1, atoms, 3) in nm of a structure file that mdtraj reads."""
    if not path.is_file() or path.stat().st_size == 0:
        found = "is empty" if path.is_file() else "does not exist"
        raise EvaluationError(f"{path} {found}; expected a PDB file with the atoms of the trajectories")
    try:
        loaded = mdtraj.load(str(path))
    except Exception as error:
        raise EvaluationError(f"{path}: not a readable structure file ({error}); expected a PDB file") from error
    return loaded.topology, np.asarray(loaded.xyz[:1], dtype=np.float64)


def read_set(
    paths: Sequence[Path], topology: mdtraj.Topology, spec: FeatureSpec, template: structure.StructureTemplate | None,
    interval: float | None = None, tick: Tick = silent, system: tuple[mdtraj.Topology, Solute] | None = None,
) -> FeatureSet:  # fmt: skip
    """Read trajectories of the whole `system` or its solute in one pass, with structure checks where there is a
    template; the interval in ps is for files without times; TrajectoryError or EvaluationError for what is wrong.
    """
    whole, solute = system or (topology, Solute(np.arange(topology.n_atoms), topology))
    runs, kept, totals, spacings = [], [], StructureTotals(), []
    per_run, block = max(1, KEPT_FRAMES // len(paths)), max(1, CHUNK_COORDINATES // (3 * whole.n_atoms))
    done, total, timeless = 0, None, False
    strict = template is None and interval is None  # a reference is judged by nothing: molecules in pieces are refused
    for path in paths:
        reader, atoms = solute_reader(path, whole, solute, interval=interval, block=block, strict=strict)
        timeless |= reader.timeless
        spacings.append(reader.interval)
        values, frames = [], []
        for stored, _ in reader:
            positions = stored[:, atoms]
            values.append(spec.values(positions))
            done += len(positions)
            tick(done, total)
            frames.append(np.array(positions[:: max(1, len(positions) // per_run)], dtype=np.float32))
            if template is not None:
                totals.add(positions, template)
        runs.append(np.concatenate(values))
        total = done * len(paths) / len(runs)
        every = np.concatenate(frames)
        kept.append(every[evenly(len(every), per_run)])
    if max(spacings) - min(spacings) > 1e-3 * max(spacings):
        raise EvaluationError(
            f"{paths[int(np.argmin(spacings))]} has a frame every {min(spacings):g} ps and "
            f"{paths[int(np.argmax(spacings))]} every {max(spacings):g} ps; evaluate runs of one spacing together"
        )
    return FeatureSet(tuple(paths), runs, float(np.mean(spacings)), np.concatenate(kept), totals, timeless=timeless)
