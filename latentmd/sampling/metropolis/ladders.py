"""Ladders of temperatures of one molecule: what they are made of, and stretches of sweeps as tasks of workers."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.molecule.bonds import neighbour_lists
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.checks import torsions as dihedrals
from latentmd.molecule.torsions import acyclic_torsions, amide_torsions
from latentmd.replicas.choice import replica_engine
from latentmd.replicas.replicas import Replicas
from latentmd.sampling.metropolis.blocks import Block, BlockMove, TorsionKernels, Torsions, blocks_of
from latentmd.sampling.metropolis.mirrors import Mirror, amines, mirrors_of
from latentmd.sampling.metropolis.tempering import Chains, Counts, ladder
from latentmd.sampling.metropolis.wells import recorded_torsions
from latentmd.sampling.run.clock import Deadline
from latentmd.systems.ligands import sided_bonds
from latentmd.systems.molecule import Molecule
from latentmd.units import GAS_CONSTANT

STEPS = 40  # of velocity Verlet in a Hamiltonian move
TIMESTEP = 0.5  # over that of the protocol: of Hamiltonian moves of 40 atoms nine in ten are accepted, eight of 75


@dataclass
class EngineEnergies:
    """What chains ask of a replica engine with as many replicas as they; velocity Verlet in steps of so many ps."""

    engine: Replicas
    timestep: float
    steps: int = STEPS
    calls: int = 0  # for the energy of one structure, or its forces

    def energies(self, positions: Floats) -> Doubles:
        """Potential energies in kJ/mol, shape (replicas,), of positions (replicas, atoms, 3) in nm."""
        self.calls += len(positions)
        return self.engine.energies(positions)

    def hamiltonian(
        self, positions: Floats, energies: Floats, temperatures: Floats, rng: np.random.Generator
    ) -> tuple[Doubles, Doubles, Bools]:
        """Follow velocity Verlet from fresh velocities of the engine's seeds; accept with min(1, exp(-dH / kT))."""
        engine = self.engine
        engine.set_positions(positions)
        engine.set_temperatures(temperatures)
        engine.draw_velocities()
        before = energies + engine.kinetic_energies()
        engine.verlet(self.steps, timestep=self.timestep)
        potential = engine.energies()
        self.calls += (self.steps + 2) * len(positions)
        with np.errstate(invalid="ignore"):
            exponent = (before - potential - engine.kinetic_energies()) / (GAS_CONSTANT * temperatures)
        accepted = np.log(rng.random(len(positions))) < np.where(np.isfinite(exponent), exponent, -np.inf)
        moved = np.where(accepted[:, None, None], engine.positions, positions)
        return moved, np.where(accepted, potential, energies), accepted


HOTTEST = 2.0  # highest temperature of a ladder over that of the run
REPLICAS = 32  # at most that one worker moves in step: two blocks of the replica engine
DRAWN, EACH = 30, 6  # most block moves of a sweep, and most for each block on average
WIDTH = 0.25  # of the kernels, radians
THIN = 5  # sweeps per structure that is kept; torsions and energies are kept of every sweep


@dataclass(frozen=True)
class Plan:
    """What the ladders of a molecule are made of, as many side by side in one task. Picklable."""

    molecule: Molecule
    quads: Ints  # all torsions about rotatable bonds and those in rings, shape (quads, 4)
    recorded: Ints  # these and their twins, shape (recorded, 4)
    torsions: Torsions  # those of them that turn part of the molecule
    blocks: tuple[Block | Mirror, ...]
    temperatures: Floats  # of a ladder, kelvin, ascending, shape (rungs,)
    ladders: int

    @classmethod
    def of(cls, molecule: Molecule, quads: Ints) -> Plan:
        """Lay out ladders from the molecule's temperature to twice that."""
        symbols, bonds = topology_arrays(molecule.topology)
        torsions = Torsions(*acyclic_torsions(quads, bonds, len(symbols)))
        where = {tuple(quad): i for i, quad in enumerate(torsions.quads.tolist())}
        flat = [tuple(quad) for quad in amide_torsions(symbols, bonds).tolist()]
        amides = np.array([where[quad] for quad in flat if quad in where], dtype=np.int64)
        sided = sided_bonds(molecule.ligand)
        held = [i for quad, i in where.items() if tuple(sorted(quad[1:3])) in sided]
        around = neighbour_lists(len(symbols), bonds)
        secondary = {i for i, near in enumerate(around) if symbols[i] == "N" and any(symbols[j] == "H" for j in near)}
        tertiary = [i for i in amides.tolist() if not secondary & set(torsions.quads[i, 1:3].tolist())]
        system, kelvin = molecule.system, molecule.protocol.temperature
        freedom = 3 * len(symbols) - 6 - system.getNumConstraints()
        kelvins = ladder(kelvin, HOTTEST * kelvin, freedom)
        fixed = np.r_[amides, held].astype(np.int64)
        turned = blocks_of(torsions.quads, fixed, np.array(tertiary, dtype=np.int64))
        blocks: tuple[Block | Mirror, ...] = (*turned, *mirrors_of(symbols, bonds))
        ladders = max(1, REPLICAS // len(kelvins))
        recorded = recorded_torsions(molecule.topology, quads)
        return cls(molecule, quads, recorded, torsions, blocks=blocks, temperatures=kelvins, ladders=ladders)

    @property
    def replicas(self) -> int:
        """Replicas of one task."""
        return self.ladders * len(self.temperatures)

    def not_sampled(self) -> list[str]:
        """Sentences about what no move of the torsions changes."""
        found = []
        flips = sum(block.kind == "flip" for block in self.blocks)
        drawn = {torsion for block in self.blocks if block.kind in ("draw", "flip") for torsion in block.torsions}
        if len(drawn) < len(self.torsions.quads):
            found.append("amides and double bonds stay cis or trans as they are at the start")
        if flips:
            found.append(f"{flips} amides without a hydrogen are flipped between cis and trans by moves of their own")
        if not self.blocks:
            found.append(
                "no bond outside rings can be turned by moves: this is replica exchange with Hamiltonian moves"
            )
        kinds = [block.kind for block in self.blocks]
        if rings := kinds.count("ring-flip"):
            found.append(f"rings: {rings} become their mirror images by moves of their own, as chairs do")
        if len(self.torsions.quads) < len(self.quads):
            found.append(f"{'other' if rings else 'all'} shapes of rings come by Hamiltonian moves and the ladder only")
        if inversions := kinds.count("inversion"):
            found.append(f"amines: {inversions} are inverted by moves of their own")
        if inversions < len(amines(*topology_arrays(self.molecule.topology))):
            found.append(
                f"{'other' if inversions else 'all'} amines invert by Hamiltonian moves and turns of their bonds"
            )
        return [*found, "stereocentres keep their handedness"]

    def moves(self, pool: Floats) -> tuple[BlockMove | Mirror, ...]:
        """Block moves with kernels on torsions (rungs, kernels, torsions) in radians."""
        made: list[BlockMove | Mirror] = []
        for block in self.blocks:
            kernels = TorsionKernels(pool[:, :, list(block.torsions)], WIDTH) if block.kind == "draw" else None
            made.append(block if isinstance(block, Mirror) else BlockMove(block, self.torsions, kernels))
        return tuple(made)

    def engine(self, positions: Floats, seed: int) -> EngineEnergies:
        """An engine with the replicas of one task at positions (replicas, atoms, 3) in nm."""
        kelvin = np.tile(self.temperatures, self.ladders)
        engine = replica_engine(self.molecule.system, positions, temperature=kelvin, seed=seed)
        return EngineEnergies(engine, TIMESTEP * self.molecule.protocol.timestep)


@dataclass(frozen=True)
class Stretch:
    """Sweeps of the ladders of one task, decided by these values alone."""

    plan: Plan
    pool: Floats  # torsions that kernels are put on, radians, shape (rungs, kernels, torsions)
    weights: Floats  # probabilities of the blocks, shape (blocks,)
    start: Floats  # nm, shape (replicas, atoms, 3)
    sweeps: int
    seed: int  # of all random numbers, together with the number of a sweep
    first: int = 0  # number of the first sweep, a multiple of THIN; a stretch goes on as if it had not been divided
    deadline: Deadline = field(default_factory=Deadline)  # when it ends early, after a multiple of THIN sweeps


@dataclass(frozen=True)
class Piece:
    """What the ladders of one task sampled in a number of sweeps."""

    positions: Floats  # of the coldest rung after every few sweeps, nm, shape (kept, ladders, atoms, 3)
    energies: Doubles  # of the coldest rung after every sweep, kJ/mol, shape (sweeps, ladders)
    cold: Floats  # recorded torsions of the coldest rung after every sweep, radians, shape (sweeps, ladders, recorded)
    angles: Floats  # torsions that turn, of all replicas, radians, shape (sweeps, replicas, torsions), single precision
    end: Doubles  # last positions, nm, shape (replicas, atoms, 3)
    counts: Counts  # of moves of the coldest rung, and of exchanges
    calls: int  # energies of single structures, or their forces, that were evaluated


def run_stretch(stretch: Stretch) -> Piece:
    """Make the sweeps of a stretch; the next one starts from its end."""
    plan = stretch.plan
    energies = plan.engine(stretch.start, stretch.seed)
    chains = Chains.start(energies, plan.moves(stretch.pool), plan.temperatures, stretch.start)
    drawn = min(DRAWN, EACH * len(plan.blocks))
    chains.weights, chains.drawn, chains.sweeps = stretch.weights, drawn, stretch.first
    cold = chains.cold
    x, u, own, angles = [], [], [], []
    while chains.sweeps < stretch.first + stretch.sweeps:
        energies.engine.draw = chains.sweeps  # random numbers belong to the number of a sweep
        chains.sweep(np.random.default_rng([stretch.seed, chains.sweeps]))
        u.append(chains.energies[cold])
        own.append(dihedrals(chains.positions[cold], plan.recorded).astype(np.float32))
        angles.append(plan.torsions.angles(chains.positions).astype(np.float32))
        if chains.sweeps % THIN == 0:
            x.append(chains.positions[cold].astype(np.float32))
            if stretch.deadline.over:
                break
    kept = {"positions": x, "energies": u, "cold": own, "angles": angles}
    arrays = {name: np.array(values) for name, values in kept.items()}
    return Piece(**arrays, end=chains.positions, counts=chains.counts, calls=energies.calls)
