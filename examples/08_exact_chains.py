"""Exact chains: statistics of a small molecule by Metropolis moves, without faith in a model."""

from pathlib import Path

import numpy as np

import latentmd

if __name__ == "__main__":  # worker processes, where there are any, import this script
    pdb = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"

    # A few seconds, so that the example ends soon; leave `wall` out to go on until every state is known to 0.25 kT.
    result = latentmd.simulate(pdb, mode="chains", wall=5.0, processes=1, out="sampled", resume=True)

    for name, population in result.summary["populations"].items():
        print(f"{name}: population {population['value']:.2f} ± {population['standard_error']:.2f}")
    print(result.status)
    for sentence in result.summary["missing"]:
        print(" -", sentence)

    frames = np.load(result.folder / "metropolised.npz")
    print(f"{len(frames['energy'])} frames of equal weight, mean energy {frames['energy'].mean():.1f} kJ/mol")
