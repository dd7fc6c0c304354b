"""What a surrogate says about torsions before any simulation: where the first kernels of a pilot go."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.metropolis.pilot import KERNELS
from latentmd.sampling.seeds import PLAN, keyed_rng, keyed_seed

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.ladders import Plan
    from latentmd.sampling.metropolis.settings import ChainsRun

_STEPS, _LAG = 20, 100.0  # latent steps from the minimised structure; their lag with the model of peptides, ps


def guess_torsions(run: ChainsRun, plan: Plan) -> tuple[Floats | None, str]:
    """Torsions of structures that a surrogate draws, and which surrogate it was.

    The model that the run was given; else the bundled model of peptides where it covers the molecule; else none.

    Args:
        run: molecule and request.
        plan: of the ladders.

    Returns:
        Radians, shape (structures, torsions), or None for no surrogate; and its name.
    """
    if run.model is not None:
        return _angles(plan, _model_structures(run, run.model)), run.model
    drawn = peptide_structures(run.molecule.topology, run.reference, keyed_seed(run.seed, 0, PLAN, 4))
    return (None, "none") if drawn is None else (_angles(plan, drawn), "bundled model of peptides")


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


def peptide_structures(topology: Any, reference: Floats, seed: int) -> Floats | None:
    """Structures that the bundled model of peptides draws, shape (structures, atoms, 3) in nm.

    None where it does not cover the molecule.

    Args:
        topology: of OpenMM or mdtraj.
        reference: a structure of it, nm, shape (atoms, 3).
        seed: of all random numbers.
    """
    import torch

    from latentmd.model.binding import bound_peptide
    from latentmd.model.file import BundleError

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
