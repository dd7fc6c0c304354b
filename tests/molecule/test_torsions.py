"""Which torsions describe the shape of a molecule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from openmm import app

from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import (
    acyclic_torsions,
    amide_torsions,
    isomer_torsions,
    rotatable_torsions,
    torsion_name,
)
from latentmd.systems.bundled import bundled


def test_alanine_dipeptide_has_phi_psi_and_two_amides(alanine: Any) -> None:
    symbols, bonds = topology_arrays(alanine.topology)
    names = [atom.name for atom in alanine.topology.atoms()]
    found = [tuple(names[i] for i in quad) for quad in rotatable_torsions(symbols, bonds).tolist()]
    assert ("C", "N", "CA", "C") in found and ("N", "CA", "C", "N") in found
    assert not any(name.startswith("H") for quad in found for name in quad)
    amides = [tuple(names[i] for i in quad) for quad in amide_torsions(symbols, bonds).tolist()]
    assert len(amides) == 2 and all({"C", "N"} <= set(quad[1:3]) for quad in amides)


def test_an_amide_with_two_hydrogens_on_nitrogen_has_no_isomers() -> None:
    """Acetamide against N-methylacetamide, whose second hydrogen is a methyl."""
    bonds = np.array([(0, 1), (1, 2), (1, 3), (3, 4), (3, 5), (0, 6), (0, 7), (0, 8)])
    assert len(amide_torsions(["C", "C", "O", "N", "H", "H", "H", "H", "H"], bonds)) == 1
    assert len(isomer_torsions(["C", "C", "O", "N", "H", "H", "H", "H", "H"], bonds)) == 0
    assert len(isomer_torsions(["C", "C", "O", "N", "H", "C", "H", "H", "H"], bonds)) == 1


def test_turns_of_three_hydrogens_are_left_out() -> None:
    """Ethane has none; propane's are turns of methyls; butane has one."""
    for carbons, expected in ((2, 0), (3, 0), (4, 1)):
        symbols, bonds = ["C"] * carbons, [(i, i + 1) for i in range(carbons - 1)]
        for carbon in range(carbons):
            for _ in range(3 if carbon in (0, carbons - 1) else 2):
                bonds.append((carbon, len(symbols)))
                symbols.append("H")
        assert len(rotatable_torsions(symbols, np.array(bonds))) == expected


def test_bonds_of_a_ring_do_not_turn() -> None:
    """Ethylbenzene without hydrogens but two: of all bonds only those that leave the ring turn."""
    symbols = ["C"] * 8 + ["H", "H"]
    bonds = np.array([(i, (i + 1) % 6) for i in range(6)] + [(0, 6), (6, 7), (6, 8), (7, 9)])
    quads, sides = acyclic_torsions(rotatable_torsions(symbols, bonds), bonds, len(symbols))
    assert {tuple(sorted(q[1:3])) for q in quads.tolist()} == {(0, 6), (6, 7)}
    assert {frozenset(side.tolist()) for side in sides} == {frozenset({6, 7, 8, 9}), frozenset({7, 9})}


def test_backbone_torsions_have_their_names(alanine: Any) -> None:
    atoms = {(atom.residue.name, atom.name): atom.index for atom in alanine.topology.atoms()}
    quad = [atoms["ACE", "C"], atoms["ALA", "N"], atoms["ALA", "CA"], atoms["ALA", "C"]]
    assert torsion_name(alanine.topology, quad) == torsion_name(alanine.topology, quad[::-1]) == "phi ALA2"
    other = [atoms["ACE", "CH3"], atoms["ACE", "C"], atoms["ALA", "N"], atoms["ALA", "CA"]]
    assert torsion_name(alanine.topology, other) == "CH3-C-N-CA"


@pytest.mark.parametrize("seed", range(4))
def test_a_peptide_has_its_backbone_in_any_order_of_the_atoms(seed: int) -> None:
    """Chignolin with Pro, Thr and Trp; Amber's files, too, have side chains before the carbonyl carbon."""
    topology = app.PDBFile(str(bundled("chignolin"))).topology
    symbols, bonds = topology_arrays(topology)
    names = [torsion_name(topology, quad) for quad in rotatable_torsions(symbols, bonds).tolist()]
    order = np.random.default_rng(seed).permutation(len(symbols))  # order[new] is the atom's number in the file
    place = np.argsort(order)
    quads = order[rotatable_torsions([symbols[i] for i in order], place[bonds])]
    backbone = [name for name in names if name.startswith(("phi", "psi", "omega"))]
    assert len(backbone) == 27 and len(quads) == len(names)
    found = [torsion_name(topology, quad) for quad in quads.tolist()]
    assert sorted(name for name in found if name.startswith(("phi", "psi", "omega"))) == sorted(backbone)
