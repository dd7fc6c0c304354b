"""Metrics of the shape of chains beside the reference's: contacts, radius of gyration, RMSD, native motion."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentmd.analysis import statistics
from latentmd.analysis.features import FeatureSet
from latentmd.analysis.metric import Metric
from latentmd.arrays import Floats

if TYPE_CHECKING:
    import mdtraj

_FEWEST = 4  # residues from which on a molecule is a chain
_CONTACT, _APART = 0.45, 3  # nm between heavy atoms, and residues along the chain


def shape_metrics(own: FeatureSet, md: FeatureSet, topology: mdtraj.Topology) -> list[Metric]:
    """Shape of the frames kept of two sets of at least four residues. Contacts: heavy atoms of residues three apart or
    more within 0.45 nm; their floor is between the halves of the reference, that of distances (RMSD to its first frame)
    holds for independent frames.
    """
    if topology.n_residues < _FEWEST:
        return []
    heavy = topology.select("element != H")
    part = topology.subset(heavy)
    frames = [np.asarray(data.kept[:, heavy], dtype=np.float32) for data in (md, own)]
    probabilities = [_contacts(x, part) for x in frames]
    half = len(frames[0]) // 2
    halves = [_contacts(x, part) for x in (frames[0][:half], frames[0][half:])]
    error, floor = (float(np.abs(a - b).mean()) for a, b in (probabilities, halves))
    rows = [Metric("contact probabilities, mean absolute error", "shape", error, floor=floor, note="floor: halves")]
    first = frames[0][0]
    for name, values in (
        ("radius of gyration", [_gyration(x) for x in frames]),
        ("RMSD to the first reference frame", [_superposed(x, first, part)[1] for x in frames]),
    ):
        grid = statistics.joint_grid(*values)
        counts = [grid.counts(v) for v in values]
        occupied = int(np.count_nonzero(counts[0]))
        floor = statistics.analytic_floor(occupied, *map(float, map(len, frames)))
        rows.append(Metric(f"JS distance, {name}", "shape", statistics.js_distance(*counts), floor=floor))
    motion = [_fluctuations(x, part) for x in frames]
    alike = float(np.corrcoef(motion[0], motion[1])[0, 1])
    rows.append(Metric("RMSF, correlation with the reference's", "shape", alike))
    rows.append(Metric("RMSF, mean", "shape", float(motion[1].mean()), "nm", float(motion[0].mean())))
    return rows


def _contacts(frames: Floats, topology: mdtraj.Topology) -> Floats:
    import mdtraj

    count = topology.n_residues
    pairs = [(i, j) for i in range(count) for j in range(i + _APART, count)]
    trajectory = mdtraj.Trajectory(frames, topology)
    apart, _ = mdtraj.compute_contacts(trajectory, pairs, scheme="closest-heavy", periodic=False)
    return np.asarray((apart < _CONTACT).mean(axis=0))


def _gyration(frames: Floats) -> Floats:
    """Radius of gyration (frames,) in nm, every atom weighing the same."""
    centred = frames - frames.mean(axis=1, keepdims=True)
    return np.asarray(np.sqrt(np.square(centred).sum(axis=2).mean(axis=1)), dtype=np.float64)


def _superposed(frames: Floats, first: Floats, topology: mdtraj.Topology) -> tuple[Floats, Floats]:
    """Frames on a structure (atoms, 3), and their RMSD (frames,) in nm."""
    import mdtraj

    trajectory, target = mdtraj.Trajectory(frames.copy(), topology), mdtraj.Trajectory(first[None], topology)
    trajectory.superpose(target)
    off = np.square(trajectory.xyz - target.xyz).sum(axis=2).mean(axis=1)
    return np.asarray(trajectory.xyz), np.asarray(np.sqrt(off), dtype=np.float64)


def _fluctuations(frames: Floats, topology: mdtraj.Topology) -> Floats:
    """RMSF (atoms,) in nm about the mean structure, which the frames are laid on twice."""
    mean = frames[0]
    for _ in range(2):
        laid, _ = _superposed(frames, mean, topology)
        mean = laid.mean(axis=0)
    return np.asarray(np.sqrt(np.square(laid - mean).sum(axis=2).mean(axis=0)), dtype=np.float64)
