"""Where the first kernels go: structures of the bundled model of peptides, or nothing."""

from __future__ import annotations

import numpy as np
from openmm.app import PDBFile

from latentmd.molecule.checks import topology_arrays, torsions
from latentmd.molecule.torsions import amide_torsions
from latentmd.sampling.metropolis.guess import peptide_structures
from latentmd.sampling.metropolis.pilot import KERNELS
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled


def test_structures_of_a_peptide_are_spread_and_trans() -> None:
    molecule = build(bundled("trialanine"))
    reference = np.asarray(molecule.positions._value)
    drawn = peptide_structures(molecule.topology, reference, seed=1)
    assert drawn is not None and drawn.shape == (KERNELS, *reference.shape) and np.isfinite(drawn).all()
    amides = amide_torsions(*topology_arrays(molecule.topology))
    assert (np.cos(torsions(drawn, amides)) < 0).mean() > 0.95
    again = peptide_structures(molecule.topology, reference, seed=1)
    np.testing.assert_array_equal(again, drawn)


def test_nothing_is_said_about_a_peptide_that_is_too_long() -> None:
    pdb = PDBFile(str(bundled("chignolin")))
    assert peptide_structures(pdb.topology, np.asarray(pdb.positions._value), seed=1) is None
