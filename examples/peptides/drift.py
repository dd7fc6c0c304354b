"""How far rollouts of a model of peptides drift from the model's own equilibrium, and what the tilt costs; without MD.

    python examples/peptides/drift.py FDVE.pdb HECR.pdb LPNG.pdb
    python examples/peptides/drift.py *.pdb --model many.pt --lags 30 100 300

Prints mean JS distances of torsions (100 bins) to as many independent draws (lag ∞). Of rollouts, plain and with the
tilt of `latentmd bind --tilt`, also the autocorrelation of torsions after 1, 3 and 10 steps, and processor time per
step. All are means over the peptides.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from openmm.app import PDBFile
from peptide_rollouts import Rollouts

from latentmd.analysis.kinetics import torsion_autocorrelation
from latentmd.analysis.statistics import js_distance
from latentmd.evaluation.residue_table import scored_torsions
from latentmd.model.peptide_file import NAME, load_peptides
from latentmd.model.peptides import PeptideModel
from latentmd.molecule.chain import Chain, chain
from latentmd.training.peptides.tilt import fit_tilt

WALKERS, STEPS, BEGIN = 100, 70, 10  # of the rollouts; steps that are not looked at, which lead away from the draws
LAGS = (1, 3, 10)  # steps, of autocorrelations
EDGES = np.linspace(-np.pi, np.pi, 101)


def drift(model: PeptideModel, found: Chain, lags: list[float]) -> dict[str, list[float]]:
    """Distance, autocorrelations and ms per step of each way to make frames of one peptide."""
    tokens, slots = np.array(scored_torsions(found)).T
    count = WALKERS * (STEPS - BEGIN)
    start = Rollouts(model, found, 0)
    own, rows = start.equilibrium(count), dict[str, list[float]]()

    def distance(angles: NDArray[np.float32]) -> float:
        places = list(zip(tokens, slots, strict=True))
        counts = [[np.histogram(x[..., t, s], EDGES)[0] for t, s in places] for x in (own, angles)]
        return float(np.mean([js_distance(*pair) for pair in zip(*counts, strict=True)]))

    rows["draws"] = [distance(start.equilibrium(count))]
    kinds = {name: Rollouts(model, found, 1) for name in ("plain", "tilted")}
    fit_tilt(kinds["tilted"].bound)
    for name, lag in [(name, lag) for lag in lags for name in kinds]:
        begin = time.process_time()
        angles = kinds[name].torsions(WALKERS, STEPS, lag)
        spent = 1e3 * (time.process_time() - begin) / WALKERS / STEPS
        angles = angles[BEGIN:]
        memory = [
            torsion_autocorrelation(list(angles[:, :, t, s].T), LAGS[-1]) for t, s in zip(tokens, slots, strict=True)
        ]
        kept = np.mean(memory, axis=0)[list(LAGS)]
        rows[f"{name}, {lag:g} ps"] = [distance(angles), *kept.tolist(), spent]
    return rows


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pdb", nargs="+", type=Path)
    parser.add_argument("--model", default=NAME, help="name or path of a model of peptides")
    parser.add_argument("--lags", nargs="+", type=float, default=[100.0], help="ps")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model, found = load_peptides(options.model).model, []
    for path in options.pdb:
        file = PDBFile(str(path))
        peptide = chain(file.topology, np.asarray(file.getPositions(asNumpy=True)._value))
        found.append(drift(model, peptide, options.lags))
    print(f"{'':20}{'distance':>9}" + "".join(f"{f'after {k}':>9}" for k in LAGS) + f"{'ms':>9}")
    for name in found[0]:
        values = np.mean([row[name] for row in found], axis=0)
        print(f"{name:20}" + "".join(f"{value:9.3f}" for value in values), flush=True)


if __name__ == "__main__":
    main()
