"""What a surrogate says about torsions before any simulation: where the first kernels of a pilot go."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.hybrid.tasks import PLAN, keyed_rng, keyed_seed
from latentmd.sampling.metropolis.pilot import KERNELS

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.ladders import Plan
    from latentmd.sampling.request import HybridRun

_STEPS, _LAG = 20, 100.0  # latent steps from the minimised structure, and their lag in ps


def guess_torsions(run: HybridRun, plan: Plan) -> tuple[Floats | None, str]:
    """Torsions of structures that a surrogate draws, and which surrogate it was.

    The model that the run was given; else the bundled model of peptides where it covers the molecule; else none.

    Args:
        run: the request and the engine.
        plan: of the ladders.

    Returns:
        Radians, shape (structures, torsions), or None for no surrogate; and its name.
    """
    if run.model is not None:
        from latentmd.sampling.hybrid.explorer import SurrogateExplorer
        from latentmd.sampling.hybrid.training import recipe_of

        explorer = SurrogateExplorer(Path(run.model), recipe_of(run), run.device)
        found = explorer.propose(run.reference[None], KERNELS, keyed_rng(run.seed, 0, PLAN, 3))
        return _angles(plan, np.asarray(found)), run.model
    drawn = peptide_structures(run.engine.molecule.topology, run.reference, keyed_seed(run.seed, 0, PLAN, 4))
    return (None, "none") if drawn is None else (_angles(plan, drawn), "bundled model of peptides")


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
