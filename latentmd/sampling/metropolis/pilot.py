"""The pilot of a run: it scatters the replicas, puts the kernels, and says how often each block is worth trying.

Nothing of it counts in the statistics, and nothing of what it chooses changes afterwards, so that a bad choice costs
time and makes no answer wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
from openmm import app

from latentmd.arrays import Doubles, Floats
from latentmd.model.file import BundleError
from latentmd.sampling.metropolis.ladders import Piece, Plan, Stretch, run_stretch
from latentmd.sampling.metropolis.mirrors import Mirror
from latentmd.sampling.metropolis.settings import ChainsRun
from latentmd.sampling.metropolis.tempering import Counts
from latentmd.sampling.run.clock import Deadline
from latentmd.sampling.run.scheduler import Scheduler
from latentmd.sampling.run.seeds import PLAN, keyed_rng, keyed_seed
from latentmd.systems.dynamics import advance

SWEEPS = (60, 120)  # of the two stages of a pilot; half of them where few torsions turn
_MANY = 12  # torsions from which on a pilot is not shortened
TORSIONS = "torsions"  # name of the bundled model of the torsions of any molecule
KERNELS = 160  # at each temperature
SCATTER = 10.0  # ps of MD at the highest temperature, from one structure
_SHARES = (0.25, 0.25, 0.5)  # of the wall time of a pilot: the scattering and the two stages
_HOTTER = 0.25  # share of the kernels from one rung above
_LEAST_RATE = 0.2  # of flips and inversions, so that a ring with one shape gets few moves
_EVENLY = 0.1  # share of the moves that all blocks get alike


def scatter(plan: Plan, reference: Floats, deadline: Deadline, seed: int) -> tuple[Doubles, int]:
    """Positions of all replicas in nm after MD at the highest temperature from one structure, and forces that it took.

    A replica that exploded goes back to the start.
    """
    start = np.repeat(np.asarray(reference, np.float64)[None], plan.replicas, axis=0)
    energies = plan.engine(start, seed)
    engine = energies.engine
    engine.minimize(200)
    start = engine.positions.copy()
    engine.set_temperatures(float(plan.temperatures[-1]))
    engine.draw_velocities()
    made: list[int] = []

    def step(steps: int) -> None:
        engine.langevin(steps, timestep=energies.timestep, friction=max(plan.molecule.protocol.friction, 1.0))
        made.append(steps)

    advance(step, round(SCATTER / energies.timestep), lambda: deadline.over)
    ends = np.where(engine.broken()[:, None, None], start, engine.positions)
    return ends, (sum(made) + 200) * plan.replicas


def stages(plan: Plan, guess: Floats | None) -> list[int]:
    """Sweeps of the stages of a pilot: fewer with fewer torsions, for which kernels and rates are known sooner.

    Where every rung has a guess of its own, the first stage is enough.
    """
    share = min(max(len(plan.torsions.quads) / _MANY, 0.5), 1.0)
    return [round(share * sweeps) for sweeps in (SWEEPS if guess is None or guess.ndim < 3 else SWEEPS[:1])]


def pilot(
    plan: Plan, reference: Floats, guess: Floats | None, seed: int, tasks: Scheduler, number: int, deadline: Deadline
) -> dict[str, object]:
    """Run a pilot of `number` tasks from a minimised structure (atoms, 3) in nm, with fewer sweeps where time is over.

    A surrogate may guess torsions in radians, (structures, torsions) or of every rung (rungs, structures, torsions);
    else they are uniform. It chooses the "pool" that kernels are put on, radians (rungs, kernels, torsions), "weights",
    the probabilities of the blocks, and "ends" where each task goes on, nm (tasks, replicas, atoms, 3), after "sweeps"
    of every task, of the "wanted" ones, and "calls" of the energy.
    """
    left = deadline.left
    seeds = [keyed_seed(seed, 0, PLAN, 10 + task) for task in range(number)]
    found = list(tasks.map(partial(scatter, plan, reference, Deadline(_SHARES[0] * left)), seeds))
    ends, calls = [end for end, _ in found], sum(count for _, count in found)
    rng, rungs = keyed_rng(seed, 0, PLAN, 9), len(plan.temperatures)
    first = rng.uniform(-np.pi, np.pi, (KERNELS, len(plan.torsions.quads))) if guess is None else guess
    pool = np.broadcast_to(first, (rungs, *first.shape[-2:]))
    weights = np.full(len(plan.blocks), 1 / max(len(plan.blocks), 1))
    counts, made, wanted = Counts(), 0, stages(plan, guess)
    for stage, sweeps in enumerate(wanted, 1):
        if deadline.over:
            break
        ends_by = Deadline(_SHARES[stage] * left)
        seeds = [keyed_seed(seed, stage, PLAN, 10 + task) for task in range(number)]
        stretch = partial(Stretch, plan, pool, weights, sweeps=sweeps, deadline=ends_by)
        work = [stretch(end, seed=s) for end, s in zip(ends, seeds, strict=True)]
        pieces = list(tasks.map(run_stretch, work))
        ends, calls = [piece.end for piece in pieces], calls + sum(piece.calls for piece in pieces)
        made += min(len(piece.energies) for piece in pieces)
        pool, counts = kernels(pieces, rungs, rng), Counts()
        for piece in pieces:
            counts.update(piece.counts)
    weights = block_weights(plan, counts)
    done = {"calls": calls, "sweeps": made, "wanted": sum(wanted)}
    return {"pool": pool, "weights": weights, "ends": np.array(ends), **done}


def kernels(pieces: Sequence[Piece], rungs: int, rng: np.random.Generator) -> Floats:
    """Torsions (rungs, kernels, torsions) in radians from the later part of some sweeps, a quarter from one rung up."""
    later = [piece.angles[len(piece.angles) // 3 :] for piece in pieces]
    rows = [np.concatenate([sweep for a in later for sweep in a[:, rung::rungs]]) for rung in range(rungs)]
    hotter = round(_HOTTER * KERNELS)
    made = []
    for rung, own in enumerate(rows):
        above = rows[min(rung + 1, rungs - 1)]
        made.append(np.concatenate([rng.choice(own, KERNELS - hotter), rng.choice(above, hotter)]))
    return np.array(made, dtype=np.float64)


def block_weights(plan: Plan, counts: Counts) -> Doubles:
    """Probabilities of the blocks: slow torsions get more, and it goes to the blocks that make them jump most.

    The share of a torsion is in proportion to 1 / sqrt(r), r the highest rate of accepted jumps out of a well among its
    blocks, and goes to these blocks in proportion to the squares of their rates; a tenth of all moves goes to all
    blocks alike. Each ring and amine counts as a torsion, with a rate of at least a fifth: many never turn.
    """
    names = [block.name for block in plan.blocks]
    if not names:
        return np.zeros(0)
    rates = np.array([(counts.jumped[name] + 0.5) / (counts.tried[name] + 1.0) for name in names])
    weights = np.zeros(len(names))
    turned = [[i in block.torsions for block in plan.blocks] for i in range(len(plan.torsions.quads))]
    mirrors = [[other is block for other in plan.blocks] for block in plan.blocks if isinstance(block, Mirror)]
    rates = np.maximum(rates, [_LEAST_RATE * isinstance(block, Mirror) for block in plan.blocks])
    for holds in np.array([*turned, *mirrors], dtype=np.float64):
        if holds.any():
            weights += holds * rates**2 / (holds * rates**2).sum() / np.sqrt((holds * rates).max())
    return np.asarray((1 - _EVENLY) * weights / weights.sum() + _EVENLY / len(names))


_STEPS, _LAG = 20, 100.0  # latent steps from the minimised structure; their lag with the model of peptides, ps


def guess_torsions(run: ChainsRun, plan: Plan) -> tuple[Floats | None, str]:
    """Torsions as for `pilot` that a surrogate draws, and which surrogate it was.

    The model that the run was given, which may be the bundled one of torsions; else the bundled model of peptides where
    it covers the molecule; else none.
    """
    seed = keyed_seed(run.seed, 0, PLAN, 4)
    if run.model == TORSIONS:
        guess = graph_torsions(plan, run.reference, seed)
        return guess, "none" if guess is None else "bundled model of torsions"
    if run.model is not None:
        return _angles(plan, _model_structures(run, run.model)), run.model
    drawn = peptide_structures(run.molecule.topology, run.reference, seed)
    return (None, "none") if drawn is None else (_angles(plan, drawn), "bundled model of peptides")


def graph_torsions(plan: Plan, reference: Floats, seed: int) -> Floats | None:
    """Torsions (rungs, structures, torsions) in radians by the bundled model of torsions; None where it cannot."""
    from latentmd.sampling.torsion_draws import guess_by_graph

    each = -(-KERNELS // len(plan.temperatures))
    kelvin = np.repeat(plan.temperatures, each)
    free = {t for block in plan.blocks if block.kind in ("draw", "flip") for t in block.torsions}
    guess = guess_by_graph(plan.molecule, reference, plan.torsions.quads, drawn=free, kelvin=kelvin, seed=seed)
    return None if guess is None else guess.reshape(len(plan.temperatures), each, -1)


def _model_structures(run: ChainsRun, model: str) -> Floats:
    """Ends of latent rollouts from the minimised structure, nm, shape (structures, atoms, 3)."""
    from latentmd.model.propagator import Propagator

    propagator = Propagator(model, run.request.device).arranged(run.molecule.topology, run.reference)
    rng = keyed_rng(run.seed, 0, PLAN, 3)
    given = np.repeat(run.reference[None], KERNELS, axis=0)
    slow, lag = propagator.encode(given), propagator.lag_range[1]
    slow = propagator.rollout(slow, lag, _STEPS, rng, every=_STEPS)[-1]
    return np.asarray(propagator.decode(slow, rng, given))


def _angles(plan: Plan, positions: Floats) -> Floats | None:
    """Torsions of the structures that are finite; None where there is none."""
    sound = positions[np.isfinite(positions).all(axis=(1, 2))].astype(np.float64)
    return plan.torsions.angles(sound) if len(sound) else None


def peptide_structures(topology: app.Topology, reference: Floats, seed: int) -> Floats | None:
    """Structures (structures, atoms, 3) in nm of the bundled model of peptides; None where it does not hold."""
    import torch

    from latentmd.model.binding import bound_peptide

    try:
        bound, _, _ = bound_peptide(topology, reference)
    except BundleError:
        return None
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        x = torch.from_numpy(np.asarray(reference, np.float32)).expand(KERNELS, -1, -1)
        slow, _ = bound.encode(x)
        for _ in range(_STEPS):
            noise = torch.randn(KERNELS, bound.step_noise, generator=generator)
            slow = bound.step(slow, torch.full((KERNELS,), _LAG), noise)
        noise = torch.randn(KERNELS, bound.decode_noise, generator=generator)
        return np.asarray(bound.decode(slow, noise).numpy(), dtype=np.float64)
