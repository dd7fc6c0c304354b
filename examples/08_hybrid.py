"""Hybrid sampling: a model proposes where to simulate, short unbiased bursts supply every number."""

from pathlib import Path

import numpy as np

from latentmd.sampling.levels import hybrid
from latentmd.sampling.request import HybridSettings

if __name__ == "__main__":  # the worker processes import this script
    pdb = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"

    # Short bursts and few of them, so that the example ends soon; leave `settings` out for real work. The model was
    # trained at 350 K and proposes for 300 K all the same: what it says of populations is never used.
    result = hybrid(
        pdb,
        model="alanine-dipeptide",
        temperature=300.0,
        time="100ps",
        settings=HybridSettings(burst=2.0, starts=8, lag=0.3, cells=30),
        processes=1,
        out="sampled",
        resume=True,
    )

    review = result.summary["review"]
    for name, population in review["populations"].items():
        print(f"{name}: population {population['value']:.2f}")
    print("not converged:" if review["missing"] else "converged")
    for sentence in review["missing"]:
        print(" -", sentence)

    weights = np.load(result.folder / "weights.npz")
    print(f"{np.count_nonzero(weights['weight'])} weighted frames; verdicts of the gate: {result.summary['gate']}")
