"""Exact Markov chains of a molecule at several temperatures, all replicas in step.

A sweep is a Hamiltonian move of every replica (Duane et al., Phys. Lett. B 195, 216, 1987), block moves of
`latentmd.sampling.metropolis.blocks`, either each once or as many as wanted drawn at random with fixed probabilities,
and an exchange of neighbouring temperatures with probability min(1, exp((1/kT_i - 1/kT_j) (U_i - U_j))) (parallel
tempering; Hukushima and Nemoto, J. Phys. Soc. Jpn. 65, 1604, 1996). Each leaves the product of the Boltzmann
distributions unchanged; statistical error is all that is left.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from scipy.special import erfcinv

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.sampling.metropolis.blocks import BlockMove
from latentmd.sampling.metropolis.mirrors import Mirror
from latentmd.units import GAS_CONSTANT

EXCHANGE = 0.25  # probability between neighbouring temperatures that a ladder is laid out for
_JUMP = np.deg2rad(60.0)  # a torsion that turns by more has left its well


class ReplicaEnergies(Protocol):
    """What a chain asks of an engine; every replica at once."""

    def energies(self, positions: Floats) -> Doubles:
        """Potential energies in kJ/mol, shape (replicas,), of positions (replicas, atoms, 3) in nm; may be infinite."""

    def hamiltonian(
        self, positions: Floats, energies: Floats, temperatures: Floats, rng: np.random.Generator
    ) -> tuple[Doubles, Doubles, Bools]:
        """One Hamiltonian move of every replica: positions (replicas, atoms, 3) in nm, energies (replicas,) in kJ/mol.

        Gives both afterwards, those from before where a move was rejected, and whether each was accepted.
        """


def ladder(coldest: float, hottest: float, degrees_of_freedom: int) -> Floats:
    """Temperatures in a geometric series, kelvin, dense enough for exchanges; one where hottest is coldest.

    With a heat capacity C of half the degrees of freedom (constraints taken off), in units of R, temperatures of the
    ratio r exchange with a mean probability of about erfc(sqrt(C) ln(r) / 2) (Kofke, J. Chem. Phys. 117, 6911, 2002).
    """
    if not 0 < coldest <= hottest:
        raise ValueError(f"temperatures go from {coldest:g} to {hottest:g} K; expected 0 < coldest <= hottest")
    step = 2.0 * float(erfcinv(EXCHANGE)) / np.sqrt(max(degrees_of_freedom, 1) / 2.0)
    rungs = int(np.ceil(np.log(hottest / coldest) / step)) + 1
    return np.geomspace(coldest, hottest, rungs)


@dataclass(frozen=True)
class Counts:
    """How many moves of each name were tried, were accepted, and took a torsion out of its well."""

    tried: Counter[str] = field(default_factory=Counter)
    accepted: Counter[str] = field(default_factory=Counter)
    jumped: Counter[str] = field(default_factory=Counter)

    def add(self, name: str, accepted: Bools, turns: Floats | None = None) -> None:
        """Count one move: which replicas took it, and radians (replicas, torsions) that it turned, if any."""
        self.tried[name] += int(accepted.size)
        self.accepted[name] += int(accepted.sum())
        if turns is not None:
            far = (np.abs(np.angle(np.exp(1j * turns))) > _JUMP).any(axis=1)
            self.jumped[name] += int((accepted & far).sum())

    def update(self, other: Counts) -> None:
        """Add other counts to these."""
        for name in ("tried", "accepted", "jumped"):
            getattr(self, name).update(getattr(other, name))

    def rows(self) -> list[tuple[str, int, float, float]]:
        """Name, number of trials, share accepted and share that jumped, of every move, by name."""
        return [
            (name, tried, self.accepted[name] / tried, self.jumped[name] / tried)
            for name, tried in sorted(self.tried.items())
        ]

    @property
    def shares(self) -> dict[str, float]:
        """Shares of moves that were accepted, by the first word of their names."""
        tried, accepted = Counter[str](), Counter[str]()
        for name, number in self.tried.items():
            tried[name.split()[0]] += number
            accepted[name.split()[0]] += self.accepted[name]
        return {name: accepted[name] / number for name, number in tried.items()}


@dataclass
class Chains:
    """State of all replicas: several independent ladders side by side, in nm and kJ/mol.

    Replica r = chain * rungs + rung holds the structure that is at temperature `temperatures[rung]` now.
    """

    engine: ReplicaEnergies
    moves: tuple[
        BlockMove | Mirror, ...
    ]  # block moves, in the order in which a sweep makes them; their groups are rungs
    temperatures: Floats  # kelvin, ascending, shape (rungs,)
    positions: Doubles
    energies: Doubles
    weights: Floats | None = None  # probabilities of block moves, shape (moves,); each is made once where None
    drawn: int = 0  # block moves of a sweep, where they are drawn
    sweeps: int = 0  # sweeps made so far; decides which pairs exchange next
    counts: Counts = field(default_factory=Counts)  # of the moves of the coldest rung, and of exchanges

    @classmethod
    def start(
        cls, engine: ReplicaEnergies, moves: tuple[BlockMove | Mirror, ...], temperatures: Floats, positions: Floats
    ) -> Chains:
        """Begin from positions (chains * rungs, atoms, 3) in nm; ValueError where one has no finite energy."""
        if len(positions) % len(temperatures):
            raise ValueError(f"{len(positions)} structures for {len(temperatures)} temperatures; expected a multiple")
        energies = engine.energies(positions)
        if not np.isfinite(energies).all():
            raise ValueError(f"start {int(np.argmin(np.isfinite(energies)))} has no finite energy; relax it first")
        return cls(engine, moves, np.asarray(temperatures), np.array(positions, dtype=np.float64), energies)

    @property
    def rungs(self) -> Ints:
        """Rung of each replica, shape (chains * rungs,)."""
        return np.arange(len(self.positions)) % len(self.temperatures)

    @property
    def cold(self) -> Ints:
        """Replicas at the coldest temperature, shape (chains,)."""
        return np.flatnonzero(self.rungs == 0)

    def sweep(self, rng: np.random.Generator) -> None:
        """Make one sweep."""
        kelvin = self.temperatures[self.rungs]
        self.positions, self.energies, accepted = self.engine.hamiltonian(self.positions, self.energies, kelvin, rng)
        self.counts.add("hamiltonian", accepted[self.cold])
        order = np.arange(len(self.moves))
        if self.weights is not None and len(order):
            order = rng.choice(len(self.moves), self.drawn, p=self.weights)
        for index in order.tolist():
            self._block(self.moves[index], kelvin, rng)
        self._exchange(rng)
        self.sweeps += 1

    def _block(self, move: BlockMove | Mirror, kelvin: Floats, rng: np.random.Generator) -> None:
        proposed, ratio, turns = move.propose(self.positions, self.rungs, rng)
        energies = self.engine.energies(proposed)
        with np.errstate(invalid="ignore"):
            exponent = (self.energies - energies) / (GAS_CONSTANT * kelvin) + ratio
        accepted = np.log(rng.random(len(kelvin))) < np.where(np.isfinite(energies), exponent, -np.inf)
        self.positions = np.where(accepted[:, None, None], proposed, self.positions)
        self.energies = np.where(accepted, energies, self.energies)
        self.counts.add(move.name, accepted[self.cold], turns[self.cold])

    def _exchange(self, rng: np.random.Generator) -> None:
        """Exchange the structures of rungs (0, 1), (2, 3), ... in even sweeps and (1, 2), (3, 4), ... in odd ones."""
        number = len(self.temperatures)
        beta = 1.0 / (GAS_CONSTANT * self.temperatures)
        for low in range(self.sweeps % 2, number - 1, 2):
            a, b = np.flatnonzero(self.rungs == low), np.flatnonzero(self.rungs == low + 1)
            exponent = (beta[low] - beta[low + 1]) * (self.energies[a] - self.energies[b])
            accepted = np.log(rng.random(len(a))) < exponent
            a, b = a[accepted], b[accepted]
            self.positions[np.r_[a, b]] = self.positions[np.r_[b, a]]
            self.energies[np.r_[a, b]] = self.energies[np.r_[b, a]]
            self.counts.add("exchange", accepted)
