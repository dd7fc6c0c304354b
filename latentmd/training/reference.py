"""A small summary of the training trajectories, kept in the manifest and drawn beside every run."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

_BINS = 50


def training_reference(
    trajectories: list[NDArray[np.float32]], topology: Any, energies: NDArray[np.float64] | None
) -> dict[str, Any]:
    """Ramachandran counts of each residue with φ and ψ (50 × 50 bins over ±180°) and quantiles of the energy.

    Args:
        trajectories: positions [frames, atoms, 3] nm.
        topology: mdtraj topology.
        energies: potential energies of sample frames, kJ/mol, or None.
    """
    import mdtraj

    counts: dict[str, NDArray[np.int64]] = {}
    for positions in trajectories:
        frames = mdtraj.Trajectory(positions, topology)
        phi_atoms, phi = mdtraj.compute_phi(frames, periodic=False)
        psi_atoms, psi = mdtraj.compute_psi(frames, periodic=False)
        psi_of = {topology.atom(atoms[1]).residue.index: column for column, atoms in enumerate(psi_atoms)}
        for column, atoms in enumerate(phi_atoms):
            residue = topology.atom(atoms[1]).residue
            if residue.index not in psi_of:
                continue
            x, y = np.rad2deg(phi[:, column]), np.rad2deg(psi[:, psi_of[residue.index]])
            histogram, _, _ = np.histogram2d(x, y, bins=_BINS, range=[[-180.0, 180.0], [-180.0, 180.0]])
            name = f"{residue.name}{residue.resSeq}"
            counts[name] = counts.get(name, np.zeros((_BINS, _BINS), dtype=np.int64)) + histogram.astype(np.int64)
    return {
        "ramachandran": [{"residue": name, "counts": table.tolist()} for name, table in counts.items()],
        "energy_quantiles": None if energies is None else tuple(np.quantile(energies, [0.001, 0.5, 0.999]).tolist()),
        "frames": int(sum(map(len, trajectories))),
    }
