"""A bonded model fitted to trajectories, which settles structures of molecules whose force field is not known."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import product

import numpy as np
import openmm
from openmm.app import Element

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.molecule import checks
from latentmd.molecule.bonds import neighbour_lists, separations
from latentmd.molecule.chemistry import Topology
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.choice import replica_engine
from latentmd.replicas.settle import EnergyRange, settle
from latentmd.units import GAS_CONSTANT

_STIFFEST = 4e5, 4e3  # kJ/mol/nm² and kJ/mol/rad², of what data show as rigid
_ORDER = 0.9  # |mean of exp(iφ)| from which on a torsion counts as stiff: it swings by up to 26 degrees
_PLANAR = 0.995  # the same of the atoms around one with three bonds, which then lies in their plane
_DEPTH, _OVERLAP = 0.2, 1.25  # kJ/mol; σ over the least distance seen, where atoms repel each other by some 9 kJ/mol
_FRAMES = 200  # of which distances between all atoms are looked at
_HEAVY_HYDROGEN = 3.0  # amu, for time steps of 2 fs
_MOMENTS = "bond_mean", "bond_deviation", "angle_mean", "angle_deviation"
_STEPS, _TIMESTEP = 25, 0.002  # of Langevin dynamics, ps


def bonded_system(topology: Topology, positions: Floats, temperature: float) -> openmm.System:
    """The System that gives bonds, angles and stiff torsions of frames [frames, atoms, 3] nm their means and spreads.

    Each is harmonic with k = kT / variance (Boltzmann inversion), those about the same bond sharing one k; bonds of
    hydrogens are constrained. Atoms more than three bonds apart repel each other as near as atoms of their two elements
    come in the frames, hydrogens of N, O and S apart from others. Soft torsions are free, and there are no charges: it
    is good for closing rings and taking atoms apart, not for energies.
    """
    symbols, bonds = checks.topology_arrays(topology)
    frames, kt = np.asarray(positions, dtype=np.float64), GAS_CONSTANT * temperature
    system, around = openmm.System(), neighbour_lists(len(symbols), bonds)
    light = np.array([symbol in ("H", "D") for symbol in symbols])
    for symbol in symbols:
        system.addParticle(_HEAVY_HYDROGEN if symbol in ("H", "D") else Element.getBySymbol(symbol).mass)
    stretch, bend, twist = openmm.HarmonicBondForce(), openmm.HarmonicAngleForce(), openmm.PeriodicTorsionForce()
    for (i, j), values in zip(bonds.tolist(), checks.bond_lengths(frames, bonds).T, strict=True):
        if light[i] or light[j]:
            system.addConstraint(i, j, values.mean())
        else:
            stretch.addBond(i, j, values.mean(), _stiffness(kt, values.var(), 0))
    triples = checks.angle_triples(len(symbols), bonds)
    for atoms, values in zip(triples.tolist(), checks.bond_angles(frames, triples).T, strict=True):
        bend.addAngle(*atoms, values.mean(), _stiffness(kt, values.var(), 1))
    quads, order, shares = _twists(around, bonds)
    turns = checks.torsions(frames, quads).T
    for atoms, least, share, values in zip(quads.tolist(), order, shares, turns, strict=True):
        mean = np.exp(1j * values).mean()
        if abs(mean) > least:
            k = _stiffness(kt, -2 * float(np.log(abs(mean))), 1) / share
            twist.addTorsion(*atoms, 1, float(np.angle(mean)) + np.pi, k)
    for force in (stretch, bend, twist, _repulsion(symbols, bonds, nearest_contacts(symbols, bonds, frames))):
        system.addForce(force)
    return system


def _stiffness(kt: float, variance: float, kind: int) -> float:
    return min(kt / max(float(variance), 1e-9), _STIFFEST[kind])


def _twists(around: list[list[int]], bonds: Ints) -> tuple[Ints, list[float], list[int]]:
    """Torsions about bonds and around atoms of three bonds, the order from which on each counts, and its share."""
    quads: list[tuple[int, int, int, int]] = []
    order: list[float] = []
    shares: list[int] = []
    for j, k in bonds.tolist():
        found = [(i, j, k, m) for i, m in product(around[j], around[k]) if i != k and m != j and i != m]
        quads, order, shares = quads + found, order + [_ORDER] * len(found), shares + [len(found)] * len(found)
    centres = [(near[0], near[1], i, near[2]) for i, near in enumerate(around) if len(near) == 3]
    many = len(centres)
    return np.array(quads + centres).reshape(-1, 4), order + [_PLANAR] * many, shares + [1] * many


def nearest_contacts(symbols: list[str], bonds: Ints, frames: Floats) -> Doubles:
    """Least distances in nm of atoms of two kinds more than three bonds apart, [kinds, kinds]; 0 for none."""
    first, second = np.nonzero(np.triu(separations(len(symbols), bonds, checks.NEAR + 1) > checks.NEAR, 1))
    kind = checks.atom_kinds(symbols, bonds)
    nearest = np.full((kind.max() + 1, kind.max() + 1), np.inf)
    for frame in frames[:: max(1, len(frames) // _FRAMES)]:
        np.minimum.at(nearest, (kind[first], kind[second]), np.linalg.norm(frame[first] - frame[second], axis=1))
    nearest = np.minimum(nearest, nearest.T)
    return np.where(np.isfinite(nearest), nearest, 0.0)


def _repulsion(symbols: list[str], bonds: Ints, nearest: Doubles) -> openmm.NonbondedForce:
    """Lennard-Jones spheres whose pairs overlap no more than the nearest ones of their kinds do in the frames."""
    from scipy.optimize import linprog

    force, count = openmm.NonbondedForce(), len(nearest)
    pairs = [(a, b) for a, b in zip(*np.triu_indices(count), strict=True) if nearest[a, b] > 0]
    rows = [np.eye(count)[a] / 2 + np.eye(count)[b] / 2 for a, b in pairs]
    limits = [_OVERLAP * nearest[a, b] for a, b in pairs]
    sigma = linprog(-np.ones(count), rows, limits, bounds=(0.0, 0.5)).x if pairs else np.zeros(count)
    for k in checks.atom_kinds(symbols, bonds):
        force.addParticle(0.0, float(sigma[k]), _DEPTH)
    near = separations(len(symbols), bonds, checks.NEAR + 1) <= checks.NEAR
    for i, j in np.argwhere(np.triu(near, 1)).tolist():
        force.addException(i, j, 0.0, 1.0, 0.0)
    return force


@dataclass(frozen=True)
class Bonded:
    """The bonded model of a molecule as a model file keeps it.

    Attributes:
        system: its System, XML as compressed text.
        energies: in it of the frames it was fitted to, kJ/mol at 0.1, 50 and 99.9 %.
        held: soft torsions, which stay where they are while the rest settles, (torsions, 4).
        moments: means and deviations of bonds and angles that a `StructureTemplate` of the molecule takes.
        nearest: least distances of atoms of two kinds (`nearest_contacts`), nm.
    """

    system: str
    energies: tuple[float, float, float]
    held: list[list[int]]
    moments: dict[str, list[float]] = field(default_factory=dict)
    nearest: list[list[float]] = field(default_factory=list)

    @classmethod
    def of(cls, topology: Topology, positions: Floats, temperature: float) -> Bonded:
        """Fitted to frames [frames, atoms, 3] in nm."""
        system = bonded_system(topology, positions, temperature)
        every = positions[:: max(1, len(positions) // _FRAMES)]
        energies = EnergyRange.of(replica_engine(system, every).energies(), "")
        text = base64.b85encode(zlib.compress(openmm.XmlSerializer.serialize(system).encode(), 9)).decode()
        held = rotatable_torsions(*checks.topology_arrays(topology)).tolist()
        template = checks.structure_template(topology, positions)
        moments = {name: [float(f"{v:.5g}") for v in getattr(template, name)] for name in _MOMENTS}
        nearest = nearest_contacts(*checks.topology_arrays(topology), positions).round(4).tolist()
        return cls(text, (energies.low, energies.median, energies.high), held, moments, nearest)

    def settled(self, positions: Floats, temperature: float, seeds: Sequence[int]) -> Doubles:
        """Structures (structures, atoms, 3) in nm with rings closed and atoms apart, each with noise from its seed."""
        system = openmm.XmlSerializer.deserialize(zlib.decompress(base64.b85decode(self.system)).decode())
        held = np.array(self.held, dtype=np.int64).reshape(-1, 4)
        shown = EnergyRange(*self.energies)
        settling = partial(settle, system, positions, temperature=temperature, timestep=_TIMESTEP, steps=_STEPS)
        return settling(energies=shown, seeds=seeds, held=held)[0]
