"""Training of a surrogate inside a hybrid run: small, minutes on two cores, from many short trajectories."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.hybrid.folder import TOPOLOGY

if TYPE_CHECKING:
    from latentmd.sampling.request import HybridRun
    from latentmd.systems.builder import Protocol
    from latentmd.training.config import TrainingConfig

Report = Callable[[str, int, int, dict[str, float]], None]

_MOST = 400  # most trajectories that a model is trained on
_HELD_OUT = 8  # one trajectory in so many validates


@dataclass(frozen=True)
class Recipe:
    """Molecule, protocol and effort of a training on bursts.

    Attributes:
        top: PDB file of the molecule.
        protocol: of the simulations.
        interval: ps between frames.
        frames: of the trajectories to come, at least.
        effort: factor on all numbers of steps.
    """

    top: Path
    protocol: Protocol
    interval: float
    frames: int
    effort: float = 1.0

    @property
    def topology(self) -> Any:
        """mdtraj topology of the molecule."""
        import mdtraj

        return mdtraj.load(str(self.top)).topology

    @property
    def shortest(self) -> int:
        """Number of frames that a usable trajectory must exceed."""
        return 2

    def chosen(self, trajectories: Sequence[Floats], seed: int) -> list[Floats]:
        """At most 400 of trajectories (frames, atoms, 3), in random order, so that those held out are any of them."""
        order = np.random.default_rng(seed).permutation(len(trajectories))[:_MOST]
        return [np.asarray(trajectories[int(i)], dtype=np.float32) for i in order]

    def config(self, frames: int, trajectories: int, seed: int) -> TrainingConfig:
        """Training configuration for bursts.

        Args:
            frames: of the longest trajectory.
            trajectories: number of them.
            seed: of the training.

        The energy heads are there but not trained beyond the exact fit of their linear part: hybrid sampling takes
        every energy from the engine.
        """
        from latentmd.training.config import parse_config

        length, dt = frames * self.interval, self.interval

        def steps(number: int) -> int:
            return max(50, round(number * self.effort))

        p = self.protocol
        return parse_config(
            {
                "seed": seed, "stride": dt, "holdout": max(1, trajectories // _HELD_OUT),
                "temperature": p.temperature, "friction": p.friction, "timestep": p.timestep,
                "hydrogen_mass": p.hydrogen_mass, "solvent": p.solvent, "force_field": list(p.force_field),
                "encoder": {"width": 32, "depth": 2, "vectors": 4},
                "jepa": {"steps": steps(300), "batch": 24, "lag": [dt, max(dt, min(5.0, length / 4))]},
                "latent": {"lag": max(dt, min(1.0, length / 4))},
                "decoder": {"steps": steps(600), "batch": 512, "width": 192},
                "fast": {"steps": steps(400), "batch": 512, "width": 128, "solver_steps": 3},
                "predictor": {"steps": steps(500), "batch": 512, "width": 96, "solver_steps": 3,
                              "lag": [dt, max(dt, min(20.0, length / 3))], "time_reversal": False},
                "energy": {"frames": 300, "steps": 1, "batch": 16, "latent_steps": 1},
            },
            "hybrid recipe",
        )  # fmt: skip


def recipe_of(run: HybridRun) -> Recipe:
    """The recipe of a run."""
    s = run.settings
    frames = round(s.burst / s.interval)
    return Recipe(run.folder / TOPOLOGY, run.engine.molecule.protocol, s.interval, frames, s.effort)


def train_bundle(
    trajectories: Sequence[Floats],
    recipe: Recipe,
    folder: Path,
    *,
    seed: int,
    resume: bool = False,
    report: Report | None = None,
) -> Path:
    """Train a surrogate and an ensemble of predictors of its slow axes; write `model.pt` and `ensemble.npz`.

    Args:
        trajectories: positions (frames, atoms, 3) in nm, at least two.
        recipe: of the molecule and its protocol.
        folder: for checkpoints and the bundle.
        seed: of the training.
        resume: go on from the checkpoints in the folder.
        report: called with (stage, step, steps, losses).

    Returns:
        The path of the bundle.
    """
    from latentmd.model.propagator import Propagator
    from latentmd.sampling.hybrid.ensemble import ENSEMBLE, fit_ensemble
    from latentmd.sampling.hybrid.store import MODEL
    from latentmd.training.data import Trajectories
    from latentmd.training.train import train

    bursts = Trajectories(trajectories, recipe.interval, [f"burst-{i:04d}" for i in range(len(trajectories))])
    config = recipe.config(max(map(len, trajectories)), len(trajectories), seed)
    name = recipe.top.stem
    bundle = train(bursts, recipe.top, folder / MODEL, config, name=name, resume=resume, report=report, device="cpu")
    propagator = Propagator(bundle, "cpu")
    slow = [propagator.encode(t).flatten(1).double().numpy() for t in trajectories]
    fit_ensemble(slow, max(1, round(config.jepa.lag[1] / recipe.interval)), seed).save(folder / ENSEMBLE)
    return bundle
