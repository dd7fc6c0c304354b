"""Chains at several temperatures sample exp(-U / kT) exactly, against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Bools, Doubles, Floats
from latentmd.molecule.torsions import acyclic_torsions
from latentmd.sampling.metropolis.blocks import Block, BlockMove, TorsionKernels, Torsions
from latentmd.sampling.metropolis.tempering import Chains, ladder
from latentmd.units import GAS_CONSTANT

START = np.array([[0.0, 0.1, 0.0], [0.0, 0.0, 0.0], [0.15, 0.0, 0.0], [0.15, -0.06, 0.08], [0.28, -0.08, 0.12]])
BONDS = np.array([(0, 1), (1, 2), (2, 3), (3, 4)])
CHAIN = Torsions(*acyclic_torsions(np.array([[0, 1, 2, 3], [1, 2, 3, 4]]), BONDS, 5))


class Coupled:
    """Two coupled torsions: U = 8 cos²a + 6 sin b + 4 cos(a - b), kJ/mol; no Hamiltonian moves."""

    def energies(self, positions: Floats) -> Doubles:
        a, b = CHAIN.angles(positions).T
        return np.asarray(8 * np.cos(a) ** 2 + 6 * np.sin(b) + 4 * np.cos(a - b))

    def hamiltonian(
        self, positions: Floats, energies: Floats, temperatures: Floats, rng: np.random.Generator
    ) -> tuple[Doubles, Doubles, Bools]:
        return np.asarray(positions), np.asarray(energies), np.zeros(len(positions), dtype=bool)


def _marginals(kelvin: float) -> list[tuple[np.ndarray, np.ndarray]]:
    grid = np.linspace(-np.pi, np.pi, 1001)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    weights = np.exp(-(8 * np.cos(a) ** 2 + 6 * np.sin(b) + 4 * np.cos(a - b)) / (GAS_CONSTANT * kelvin))
    sums = [np.cumsum(weights.sum(axis=1 - axis)) for axis in (0, 1)]
    return [(grid, total / total[-1]) for total in sums]


def _moves(*blocks: Block, groups: int) -> tuple[BlockMove, ...]:
    rng = np.random.default_rng(5)
    made = []
    for block in blocks:
        centres = rng.uniform(-np.pi, np.pi, (groups, 3, len(block.torsions)))
        made.append(BlockMove(block, CHAIN, TorsionKernels(centres, 0.8) if block.kind == "draw" else None))
    return tuple(made)


@pytest.mark.parametrize(
    "blocks",
    [
        (Block("draw", (0,)), Block("draw", (1,))),
        (Block("draw", (0, 1)),),
        (Block("counter-rotation", (0, 1)), Block("draw", (1,))),
        (Block("flip", (0,)), Block("draw", (0, 1))),
    ],
    ids=["singles", "pair", "counter-rotation", "flip"],
)
def test_every_move_has_the_exact_distribution(blocks: tuple[Block, ...]) -> None:
    kelvin = np.array([300.0])
    chains = Chains.start(Coupled(), _moves(*blocks, groups=1), kelvin, np.repeat(START[None], 40, axis=0))
    rng = np.random.default_rng(7)
    for _ in range(100):
        chains.sweep(rng)
    frames = []
    for _ in range(1200):
        chains.sweep(rng)
        frames.append(CHAIN.angles(chains.positions))
    angles = np.array(frames)
    _check(angles, 300.0)


def test_every_temperature_has_its_exact_distribution() -> None:
    kelvin = np.array([250.0, 400.0, 700.0])
    moves = _moves(Block("draw", (0,)), Block("counter-rotation", (0, 1)), groups=3)
    chains = Chains.start(Coupled(), moves, kelvin, np.repeat(START[None], 60, axis=0))
    rng = np.random.default_rng(8)
    frames = []
    for i in range(1500):
        chains.sweep(rng)
        if i >= 300:
            frames.append(CHAIN.angles(chains.positions))
    angles = np.array(frames)
    for rung, temperature in enumerate(kelvin):
        _check(angles[:, chains.rungs == rung], temperature)
    assert 0.2 < chains.counts.shares["exchange"] < 0.99


def _check(angles: np.ndarray, kelvin: float) -> None:
    """Kolmogorov and Smirnov on independent draws of both torsions; angles (sweeps, chains, 2)."""
    for axis, (grid, cdf) in enumerate(_marginals(kelvin)):
        series = [np.sin(angles[:, chain, axis]) for chain in range(angles.shape[1])]
        stride = int(np.ceil(2 * sum(map(len, series)) / effective_samples(series)))
        kept = angles[::stride, :, axis].ravel()
        assert len(kept) > 150
        assert kstest(kept, lambda t, grid=grid, cdf=cdf: np.interp(t, grid, cdf)).pvalue > 0.001


def test_an_infinite_energy_is_never_accepted() -> None:
    class Wall(Coupled):
        def energies(self, positions: Floats) -> Doubles:
            return np.where(np.sin(CHAIN.angles(positions)[:, 1]) > 0, np.inf, super().energies(positions))

    start = CHAIN.turned(START[None], (1,), np.array([[-np.pi / 2]]) - CHAIN.angles(START[None])[:, 1:])
    chains = Chains.start(Wall(), _moves(Block("draw", (1,)), groups=1), np.array([300.0]), start)
    rng = np.random.default_rng(0)
    for _ in range(50):
        chains.sweep(rng)
        assert np.isfinite(chains.energies).all()


def test_a_start_without_a_finite_energy_is_refused() -> None:
    broken = np.full((1, 5, 3), np.nan)
    with pytest.raises(ValueError, match="start 0 has no finite energy; relax it first"):
        Chains.start(Coupled(), (), np.array([300.0]), broken)
    with pytest.raises(ValueError, match="3 structures for 2 temperatures"):
        Chains.start(Coupled(), (), np.array([300.0, 400.0]), np.repeat(START[None], 3, axis=0))


def test_a_ladder_is_geometric_and_dense_enough() -> None:
    kelvin = ladder(300.0, 600.0, 150)
    assert kelvin[0] == pytest.approx(300.0) and kelvin[-1] == pytest.approx(600.0)
    ratios = kelvin[1:] / kelvin[:-1]
    np.testing.assert_allclose(ratios, ratios[0])
    assert 4 <= len(kelvin) <= 7
    assert len(ladder(300.0, 300.0, 150)) == 1
    with pytest.raises(ValueError, match="expected 0 < coldest <= hottest"):
        ladder(400.0, 300.0, 10)
