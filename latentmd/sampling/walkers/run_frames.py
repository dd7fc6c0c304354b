"""Frames of a run of walkers, read once for its picture and its page."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from mdtraj.formats import XTCTrajectoryFile
from numpy.typing import NDArray

from latentmd.analysis import statistics
from latentmd.analysis.features import FeatureSpec, torsion_spec
from latentmd.arrays import Floats
from latentmd.io.formats import ascii_path
from latentmd.io.provenance import read_provenance
from latentmd.model.manifest import Reference
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.settle import EnergyRange
from latentmd.report.viewer import VIEW_FRAMES
from latentmd.sampling.run.stopping import walker_files
from latentmd.sampling.walkers.folder import PROVENANCE, TOPOLOGY

_MEMORY = 50_000_000  # coordinates read per walker; longer trajectories are thinned
_COMPARED = 100  # torsions whose effective samples are counted
SHORTEST = 20  # frames of a walker from which a correlation says anything


@dataclass(frozen=True)
class RunFrames:
    """What a run sampled, beside what its model was trained on.

    Attributes:
        runs: coordinates that describe the molecule, of each walker, shape (frames, coordinates).
        times: ps, of the same frames.
        view: positions of frames of the first walker, nm, shape (frames, atoms, 3), and their times in ps.
        provenance: columns of provenance.csv by name.
        bounds: MD's 0.1 to 99.9 % of potential energies in kJ/mol, if known.
    """

    topology: Any
    spec: FeatureSpec
    runs: list[Floats]
    times: list[Floats]
    view: tuple[Floats, Floats]
    provenance: dict[str, NDArray[Any]]
    reference: Reference | None
    temperature: float
    bounds: tuple[float, float] | None = None

    @cached_property
    def values(self) -> Floats:
        """Coordinates of the frames of all walkers, shape (frames, coordinates)."""
        return np.concatenate(self.runs)

    @property
    def has_energies(self) -> bool:
        """Whether the energy of any frame is known."""
        return bool(np.isfinite(self.provenance["potential_energy"]).any())

    @cached_property
    def effective(self) -> Floats | None:
        """Effective samples of each torsion, the fewer of its cosine's and its sine's; None of short walkers."""
        if self.spec.kind != "torsions" or max(map(len, self.runs)) < SHORTEST:
            return None
        both = [
            [statistics.effective_samples([f(run[:, column]) for run in self.runs]) for f in (np.cos, np.sin)]
            for column in range(min(len(self.spec.names), _COMPARED))
        ]
        return np.asarray(np.min(both, axis=1))

    @property
    def slowest(self) -> list[int]:
        """Coordinates from the one that is known least on; in their order where walkers are short."""
        return list(range(len(self.spec.names))) if self.effective is None else np.argsort(self.effective).tolist()

    @cached_property
    def maps(self) -> dict[tuple[int, int], Floats]:
        """Counts of the training data over the (phi, psi) of each residue that the reference holds, shape (50, 50)."""
        entries = self.reference.ramachandran if self.reference is not None else []
        stored = {entry.residue: np.array(entry.counts, dtype=np.float64) for entry in entries}
        labels = {pair: self.residue(pair) for pair in self.spec.pairs}
        return {pair: stored[label] for pair, label in labels.items() if label in stored}

    def residue(self, pair: tuple[int, int]) -> str:
        """Name and number of the residue of a (phi, psi) pair."""
        return self.spec.names[pair[0]].split()[1]


def read_run(
    folder: Path, reference: Reference | None, temperature: float, energies: EnergyRange | None = None
) -> RunFrames:
    """Read the trajectories and the provenance of a run; the energies that MD shows are the reference's where None."""
    topology = mdtraj.load_topology(str(folder / TOPOLOGY))
    spec = describe(topology)
    written = [path for path in walker_files(folder) if path.stat().st_size]
    walkers = [walker for path in written if (walker := _read(path, topology, spec)) is not None]
    times, runs, views = zip(*walkers, strict=True)
    stored = reference.energy_quantiles if reference is not None else None
    if energies is not None:
        stored = (energies.low, energies.median, energies.high)
    bounds, rows = None if stored is None else (stored[0], stored[2]), read_provenance(folder / PROVENANCE)
    model: dict[str, Any] = {"reference": reference, "temperature": temperature, "bounds": bounds}
    return RunFrames(topology, spec, list(runs), list(times), view=views[0], provenance=rows, **model)


def describe(topology: Any) -> FeatureSpec:
    """Named torsions of a peptide; else the torsion in the middle of the molecule, else the distance of its ends."""
    found = torsion_spec(topology)
    if found is not None:
        return found
    solute = [r for r in topology.residues if not r.is_water]
    heavy = [a.index for r in solute for a in r.atoms if a.element is not None and a.element.symbol != "H"]
    quads = rotatable_torsions(*topology_arrays(topology))
    if len(quads):
        chain = quads[len(quads) // 2]
        label = "-".join(topology.atom(i).name for i in chain)
        return FeatureSpec("torsions", (f"torsion {label}",), chain[None], ())
    atoms = heavy if len(heavy) > 1 else [a.index for a in topology.atoms]
    first, last = atoms[0], atoms[-1]
    label = f"distance {topology.atom(first).name}-{topology.atom(last).name}"
    return FeatureSpec("distances", (label,), np.array([[first, last]]), ())


def _read(path: Path, topology: Any, spec: FeatureSpec) -> tuple[Floats, Floats, tuple[Floats, Floats]] | None:
    """Times in ps and coordinates of a trajectory, thinned above a limit, and a few whole frames with their times."""
    times, values, frames = [], [], []
    with ascii_path(path) as name, XTCTrajectoryFile(name) as file:
        stride = max(1, len(file) * topology.n_atoms * 3 // _MEMORY)
        every = max(1, len(file) // stride // VIEW_FRAMES)
        while True:
            xyz, time, _, _ = file.read(1000, stride=stride)
            if len(xyz) == 0:
                break
            times.append(time)
            values.append(spec.values(xyz))
            frames.append((xyz[::every], time[::every]))
    if not times:
        return None
    positions, shown = zip(*frames, strict=True)
    return np.concatenate(times), np.concatenate(values), (np.concatenate(positions), np.concatenate(shown))
