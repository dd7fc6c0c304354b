"""Processor time per replica and step, engine against OpenMM on one core: `python speed.py [PDB ...]`."""

import sys

from latentmd.evaluation.speed import per_core
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

NAMES = ("alanine_dipeptide", "alanine_tetrapeptide", "met_enkephalin", "chignolin")

print("| molecule | atoms | replicas | engine | µs | OpenMM Reference, µs | OpenMM CPU, µs | ratio |")
print("|---|---|---|---|---|---|---|---|")
for pdb in sys.argv[1:] or [bundled(name) for name in NAMES]:
    found = per_core(build(pdb))
    if found is None:
        sys.exit(f"{pdb}: the replica engine cannot simulate it here; `latentmd inspect MODEL --speed` says why")
    name = str(pdb).rsplit("/", 1)[-1].removesuffix(".pdb")
    costs = [f"{found.engine:.2f}", *(f"{cost:.1f}" for cost in found.openmm.values())]
    ratio = "{:.1f} ({:.1f} to {:.1f})".format(*found.ratio)
    print("| " + " | ".join([name, str(found.atoms), str(found.replicas), found.variant, *costs, ratio]) + " |")
