"""Processor time per replica and step, engine against OpenMM on one core: `python speed.py [PDB ...]`."""

import sys

from latentmd.evaluation.replica_speed import compare, table
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled

NAMES = ("alanine_dipeptide", "alanine_tetrapeptide", "met_enkephalin", "chignolin")

rows = []
for pdb in sys.argv[1:] or [bundled(name) for name in NAMES]:
    molecule = build(pdb)
    protocol = molecule.protocol
    rows.append(
        compare(
            str(pdb).rsplit("/", 1)[-1].removesuffix(".pdb"),
            molecule.system,
            molecule.positions._value,
            temperature=protocol.temperature,
            timestep=protocol.timestep,
            friction=protocol.friction,
        )
    )
print(table(rows))
