"""How far rollouts of the bundled model of peptides drift from the model's own equilibrium; no MD is needed.

    python examples/peptides/drift.py FDVE.pdb HECR.pdb LPNG.pdb

Prints mean JS distances of torsions (100 bins) to as many independent draws (lag ∞), the mean over the peptides.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from openmm.app import PDBFile
from peptide_rollouts import Rollouts

from latentmd.analysis.statistics import js_distance
from latentmd.evaluation.residue_table import scored_torsions
from latentmd.model.peptide_file import load_peptides
from latentmd.molecule.chain import chain

WALKERS, STEPS, LAG = 100, 200, 100.0  # of the rollouts; ps
EDGES = np.linspace(-np.pi, np.pi, 101)


def drift(pdb: Path) -> dict[str, float]:
    """Distances of one peptide."""
    file = PDBFile(str(pdb))
    found = chain(file.topology, np.asarray(file.getPositions(asNumpy=True)._value))
    rollouts, count = Rollouts(load_peptides().model, found, 0), WALKERS * STEPS
    tokens, slots = np.array(scored_torsions(found)).T
    own = rollouts.equilibrium(count)
    sets = {
        "draws": rollouts.equilibrium(count),
        "one step from draws": np.concatenate([rollouts.torsions(1000, 1, LAG)[0] for _ in range(count // 1000)]),
        "rollouts": rollouts.torsions(WALKERS, STEPS, LAG),
        "rollouts, decoded": rollouts.decoded(WALKERS, STEPS, LAG)[0],
    }

    def counts(angles: NDArray[np.float32], token: int, slot: int) -> NDArray[np.int_]:
        return np.histogram(angles[..., token, slot], EDGES)[0]

    return {
        name: float(
            np.mean([js_distance(counts(own, t, s), counts(x, t, s)) for t, s in zip(tokens, slots, strict=True)])
        )
        for name, x in sets.items()
    }


def main() -> None:
    """Measure and print."""
    torch.set_num_threads(1)
    found = [drift(Path(name)) for name in sys.argv[1:]]
    for name in found[0]:
        print(f"{name:22}{np.mean([row[name] for row in found]):.3f}", flush=True)


if __name__ == "__main__":
    main()
