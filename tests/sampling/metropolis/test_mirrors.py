"""Flips of rings and inversions of amines: what they keep, what they leave alone, and that they sample exactly."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import numpy as np
import pytest

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.molecule.bonds import neighbour_lists
from latentmd.molecule.checks import signed_volumes, topology_arrays, torsions
from latentmd.molecule.torsions import acyclic_torsions, rotatable_torsions
from latentmd.sampling.metropolis.blocks import Block, BlockMove, TorsionKernels, Torsions
from latentmd.sampling.metropolis.ladders import Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.mirrors import Mirror, mirrors_of
from latentmd.sampling.metropolis.tempering import Chains
from latentmd.systems.builder import build
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.units import GAS_CONSTANT

FLIPPED = {
    "N-methylpiperidine": "CN1CCCCC1",
    "a ring at a ring": "OC1CCC2(CC1)CCCC2",
    "a ring beside a flat one": "CC1NCCc2ccccc12",
    "captopril": "C[C@H](CS)C(=O)N1CCC[C@H]1C(=O)O",
    "a sulfoxide": "C[C@H]1CC[S@](=O)CC1",
    "an ethylidene": "C/C=C1/CCC[C@@H](F)C1",
}


def _built(smiles: str) -> tuple[list[str], Ints, Floats]:
    chem = pytest.importorskip("rdkit.Chem")
    from rdkit.Chem import AllChem

    mol = chem.AddHs(chem.MolFromSmiles(smiles))
    AllChem.EmbedMolecule(mol, randomSeed=7)
    bonds = [(bond.GetBeginAtomIdx(), bond.GetEndAtomIdx()) for bond in mol.GetBonds()]
    return [atom.GetSymbol() for atom in mol.GetAtoms()], np.array(bonds), mol.GetConformer().GetPositions() / 10


def _image(move: Mirror, x: Floats) -> Doubles:
    moved, ratio, turns = move.propose(x, np.zeros(len(x), dtype=int), np.random.default_rng(0))
    assert not ratio.any() and turns.shape == (len(x), 1)
    return moved


@pytest.mark.parametrize("name", FLIPPED)
def test_an_image_keeps_lengths_angles_and_hands_and_its_image_is_the_original(name: str) -> None:
    symbols, bonds, start = _built(FLIPPED[name])
    x = start + np.random.default_rng(1).normal(0, 0.005, (3, *start.shape))
    around = neighbour_lists(len(symbols), bonds)
    near = np.array([pair for j in range(len(symbols)) for pair in combinations(around[j], 2)] + bonds.tolist())
    inverted = {move.atoms[0] for move in mirrors_of(symbols, bonds) if move.kind == "inversion"}
    handed = [i for i, others in enumerate(around) if len(others) > 3 or (symbols[i] == "S" and len(others) == 3)]
    corners = np.array([[i, *around[i][:3]] for i in handed])
    for move in mirrors_of(symbols, bonds):
        y = _image(move, x)
        np.testing.assert_allclose(_image(move, y), x, atol=1e-12)
        lengths = [np.linalg.norm(z[:, near[:, 0]] - z[:, near[:, 1]], axis=2) for z in (x, y)]
        np.testing.assert_allclose(lengths[1], lengths[0], atol=1e-12)
        assert (np.sign(signed_volumes(y, corners)) == np.sign(signed_volumes(x, corners))).all()
        if move.kind == "ring-flip":
            assert "flip" in move.name
            quads = rotatable_torsions(symbols, bonds)
            ring = quads[[set(quad.tolist()) <= set(move.atoms) for quad in quads]]
            assert len(ring) > 1
            np.testing.assert_allclose(np.sin(torsions(y, ring)), -np.sin(torsions(x, ring)), atol=1e-6)
        else:
            pyramid = np.array([[i, *around[i]] for i in inverted])
            np.testing.assert_allclose(signed_volumes(y, pyramid), -signed_volumes(x, pyramid), atol=1e-9)


@pytest.mark.parametrize("name", ["N-methylpiperidine", "captopril"])
def test_an_image_keeps_the_volume_element(name: str) -> None:
    symbols, bonds, start = _built(FLIPPED[name])
    step = 1e-6 * np.eye(start.size).reshape(start.size, *start.shape)
    for move in mirrors_of(symbols, bonds):
        jacobian = (_image(move, start + step) - _image(move, start - step)).reshape(start.size, start.size) / 2e-6
        assert abs(np.linalg.det(jacobian)) == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize(
    ("smiles", "kinds"),
    [
        ("c1ccccc1N(C)C", []),  # flat
        ("C1CC2CCC1C2", []),  # bridgeheads of which no mirror image has the same hand
        ("C1CN2CCC1CC2", []),
        ("CN1C2CCC1CC(O)C2", ["inversion"]),  # tropine
        ("CCN(CC)CC(=O)Nc1c(C)cccc1C", []),  # turns of the third bond exchange the ethyls
        ("CCN(C)Cc1ccccc1", ["inversion"]),
        ("CN1CCN(Cc2ccccc2)CC1", ["ring-flip", "inversion", "inversion"]),
        ("C[NH+]1CCCCC1", ["ring-flip"]),
        ("NC1CCCCC1", ["ring-flip"]),  # turns of NH2 invert it
    ],
)
def test_rings_that_are_not_flat_and_amines_are_moved(smiles: str, kinds: list[str]) -> None:
    symbols, bonds, _ = _built(smiles)
    assert [move.kind for move in mirrors_of(symbols, bonds)] == kinds


#: An amine: C-C-N with two further neighbours, one of which passes through the plane of the others.
AMINE = np.array([[0.1, 0.1, 0.05], [0.15, 0.0, 0.0], [0.0, 0.0, 0.0], [-0.05, 0.14, 0.0], [-0.05, -0.07, 0.12]])
BONDS = np.array([(0, 1), (1, 2), (2, 3), (2, 4)])


class Amine:
    """U = 2 s + 3 s cos a + 2 sin a, kJ/mol, with the torsion a of C-C-N-C and s = ± 1 of the pyramid."""

    turning = Torsions(*acyclic_torsions(np.array([[0, 1, 2, 3]]), BONDS, 5))

    def energies(self, positions: Floats) -> Doubles:
        a, s = self.turning.angles(positions)[:, 0], self.signs(positions)
        return np.asarray(2 * s + 3 * s * np.cos(a) + 2 * np.sin(a))

    @staticmethod
    def signs(positions: Floats) -> Doubles:
        return np.asarray(np.sign(signed_volumes(positions, np.array([[2, 1, 3, 4]]))[:, 0]))

    def hamiltonian(
        self, positions: Floats, energies: Floats, temperatures: Floats, rng: np.random.Generator
    ) -> tuple[Doubles, Doubles, Bools]:
        return np.asarray(positions), np.asarray(energies), np.zeros(len(positions), dtype=bool)


def test_inversions_and_turns_have_the_exact_distribution() -> None:
    """Population of one hand, and mean cosine of the torsion in it, by quadrature."""
    engine = Amine()
    kernels = TorsionKernels(np.random.default_rng(2).uniform(-3, 3, (1, 3, 1)), 0.8)
    inversion = Mirror("inversion", (2,), (1, 2, 3), np.array([4]), ())
    moves = (BlockMove(Block("draw", (0,)), engine.turning, kernels), inversion)
    chains = Chains.start(engine, moves, np.array([300.0]), np.repeat(AMINE[None], 60, axis=0))
    rng, hands, cosines = np.random.default_rng(3), [], []
    for i in range(1000):
        chains.sweep(rng)
        if i >= 50:
            hands.append(engine.signs(chains.positions) > 0)
            cosines.append(np.cos(engine.turning.angles(chains.positions)[:, 0]))
    grid = np.linspace(-np.pi, np.pi, 2001)[1:]
    weights = np.array(
        [np.exp(-(2 * s + 3 * s * np.cos(grid) + 2 * np.sin(grid)) / (GAS_CONSTANT * 300)) for s in (1, -1)]
    )
    share, inside = weights[0].sum() / weights.sum(), (weights[0] @ np.cos(grid)) / weights[0].sum()
    by_chain = np.array(hands).mean(axis=0)
    assert abs(by_chain.mean() - share) < 4 * by_chain.std(ddof=1) / np.sqrt(60)
    found = np.array([c[h].mean() for c, h in zip(np.array(cosines).T, np.array(hands).T, strict=True)])
    assert abs(found.mean() - inside) < 4 * found.std(ddof=1) / np.sqrt(60)
    assert by_chain.std() < 0.05  # so that a wrong ratio would be seen
    assert 0.1 < chains.counts.shares["inversion"] < 0.99


def test_both_chairs_and_both_hands_of_an_achiral_ring_are_equal() -> None:
    """N-methylpiperidine, all replicas from one chair, which the ladder alone would keep for thousands of sweeps."""
    pytest.importorskip("openff.toolkit")
    molecule = build(Path("ring"), Protocol("vacuum", inputs=InputOptions(smiles="CN1CCCCC1")))
    symbols, bonds = topology_arrays(molecule.topology)
    plan = Plan.of(molecule, rotatable_torsions(symbols, bonds))
    start = np.repeat(np.array(molecule.positions._value)[None], plan.replicas, axis=0)
    pool, weights = np.zeros((len(plan.temperatures), 1, 0)), np.full(2, 0.5)
    piece = run_stretch(Stretch(plan, pool, weights, start, sweeps=100, seed=2))
    chair = torsions(piece.positions[4:].reshape(-1, *start.shape[1:]), np.array([[2, 3, 4, 5]]))[:, 0] > 0
    hand = signed_volumes(piece.positions[4:].reshape(-1, *start.shape[1:]), np.array([[1, 0, 2, 6]]))[:, 0] > 0
    for share in (chair.reshape(16, -1).mean(axis=0), hand.reshape(16, -1).mean(axis=0)):
        assert abs(share.mean() - 0.5) < 4 * share.std(ddof=1) / np.sqrt(len(share)) < 0.2
    assert piece.counts.shares["ring-flip"] > 0.2 and piece.counts.shares["inversion"] > 0.02
