"""Two elastic balls: every predictor with an encoder of its own. `python ablation.py [--seed N] [--out FOLDER]`.

Each variant is a whole training by joint-embedding prediction, with its own predictor from the first step on, the same
budget and the same trajectories; the errors are those of the state that is read out, in the same units for all.
"""

import argparse
import json
from pathlib import Path
from typing import Any

from latentmd import train_world

ENERGY_TERM = {"jepa": {"conserved": 0.1}}
EIGHT_AXES = {"encoder": {"dim": 8}}
#: Name → kind of predictor, settings in place of the recipe's.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "Hamiltonian, leapfrog": ("hamiltonian", {}),
    "with the energy term": ("hamiltonian-energy-term", ENERGY_TERM),
    "Euler in place of leapfrog": ("hamiltonian-euler", {}),
    "residual": ("residual", {}),
    "MLP": ("mlp", {}),
    "MLP, twice as wide": ("large-mlp", {}),
    "Hamiltonian, 8 axes": ("hamiltonian", EIGHT_AXES),
    "general Hamiltonian, 8 axes": ("hamiltonian-general", EIGHT_AXES),
    "residual, 8 axes": ("residual", EIGHT_AXES),
}

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", type=Path, default=Path("ablation"))
chosen = parser.parse_args()

print("| encoder and predictor | weights | worst probe R² | error 1 | error 10 | error 30 | mean error | drift |")
print("|---|---|---|---|---|---|---|---|")
for number, (name, (kind, changes)) in enumerate(VARIANTS.items()):
    folder = chosen.out / str(number)
    if not (folder / "table.json").exists():
        settings = {**changes, "maps": ["PCA"], "predictor": {"rivals": []}}
        train_world(
            "two-balls", folder, observe="state", predictor=kind, seed=chosen.seed, changes=settings, overwrite=True
        )
    figures = json.loads((folder / "table.json").read_text())
    for shown in (kind, "persistence"):
        row = figures["predictors"][shown]
        if shown == "persistence" and number:
            continue
        errors, worst = row["forecast"], min(figures["probe_r2"].values())
        print(f"| {name if shown == kind else shown} | {row['parameters']:,} | {worst:.3f} | {errors['step 1']:.3f} "
              f"| {errors['step 10']:.3f} | {errors['step 30']:.3f} | {errors['mean']:.3f} "
              f"| {row['energy_drift']['last']:.2f} |", flush=True)  # fmt: skip
