"""The surrogate of hybrid sampling: a bundle that proposes structures, and is trained again when it errs."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.sampling.hybrid.ensemble import ENSEMBLE, Ensemble
from latentmd.sampling.hybrid.store import MODEL

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.sampling.hybrid.training import Recipe


_CHUNK = 2000  # frames encoded or decoded at a time
_ROLLOUT = (1, 3, 10, 30)  # lengths of rollouts in steps of the longest lag, for proposals near and far
_BREADTH = (1.0, 1.5, 2.0)  # factors on the noise of rollouts, to go beyond what equilibrium visits
_ERROR_BURSTS = 64  # most trajectories that the error is measured on
_ERROR_STRIDE = 5  # every fifth frame is decoded for the error


class SurrogateExplorer:
    """Proposes structures with a bundle.

    Args:
        bundle: path of the bundle.
        recipe: how to train another one from bursts.
        device: of the model.

    Raises:
        BundleError: the bundle cannot be loaded.
    """

    def __init__(self, bundle: str | Path, recipe: Recipe, device: str = "cpu") -> None:
        from latentmd.model.propagator import Propagator

        self.bundle, self.recipe, self.device = Path(bundle), recipe, device
        self.propagator: Propagator = Propagator(self.bundle, device)
        beside = self.bundle.with_name(ENSEMBLE)
        self.ensemble = Ensemble.load(beside) if beside.exists() else None

    def features(self, positions: Floats) -> Floats:
        """Slow axes (frames, k) of positions (frames, atoms, 3) in nm."""
        parts = [
            self.propagator.encode(positions[i : i + _CHUNK]).flatten(1).double().cpu().numpy()
            for i in range(0, len(positions), _CHUNK)
        ]
        return np.concatenate(parts)

    def propose(self, starts: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Decoded structures (count, atoms, 3): end points of latent rollouts, and points between starts.

        Half are end points, starts (m, atoms, 3) taken in turn. Rollouts have several lengths, and noise up to twice
        the model's: wider than equilibrium, so that they reach where MD hardly goes. The other half lie on straight
        lines in the latent between two starts: on barriers, where rollouts of the right distribution never are.
        Whether a proposal is any good is for the trust gate to say.

        Args:
            starts: nm, shape (m, atoms, 3).
            count: number of proposals.
            rng: random generator.
        """
        between = count // 2
        ends = self._ends(starts, count - between, rng)
        return np.concatenate([ends, self._between(starts, between, rng)])

    def _between(self, starts: Floats, count: int, rng: np.random.Generator) -> Floats:
        pairs = rng.integers(len(starts), size=(2, count))
        share = rng.random((count, 1, 1)).astype(np.float32)
        slow = self.propagator.encode(starts)
        mixed = slow[pairs[0]] + slow.new_tensor(share) * (slow[pairs[1]] - slow[pairs[0]])
        return self.propagator.decode(mixed, rng, starts[pairs[0]])

    def _ends(self, starts: Floats, count: int, rng: np.random.Generator) -> Floats:
        given = starts[np.arange(count) % len(starts)]
        turn = np.arange(count) // len(starts)
        length = np.array(_ROLLOUT)[turn % len(_ROLLOUT)]
        breadth = np.array(_BREADTH)[turn // len(_ROLLOUT) % len(_BREADTH)]
        result = np.empty(given.shape)
        lag = self.propagator.lag_range[1]
        for steps, factor in sorted(set(zip(length.tolist(), breadth.tolist(), strict=True))):
            rows = np.flatnonzero((length == steps) & (breadth == factor))
            noise: Any = _Wide(rng, factor)
            slow = self.propagator.rollout(self.propagator.encode(given[rows]), lag, steps, noise, every=steps)[-1]
            result[rows] = self.propagator.decode(slow, rng, given[rows])
        return result

    def rollout(self, starts: Floats, count: int, rng: np.random.Generator) -> Floats:
        """Decoded end points of the longest rollouts, with the model's own noise.

        Args:
            starts: nm, shape (m, atoms, 3), taken in turn.
            count: number of rollouts.
            rng: random generator.

        Returns:
            Positions in nm, shape (count, atoms, 3).
        """
        given = starts[np.arange(count) % len(starts)]
        steps = _ROLLOUT[-1]
        slow = self.propagator.encode(given)
        end = self.propagator.rollout(slow, self.propagator.lag_range[1], steps, rng, every=steps)[-1]
        return self.propagator.decode(end, rng, given)

    def disagreement(self, latents: Floats) -> Floats | None:
        """Disagreement (frames,) at slow axes (frames, k) of the ensemble beside it; None where there is none."""
        return None if self.ensemble is None else self.ensemble.disagreement(latents)

    def error(self, trajectories: Sequence[Floats]) -> float:
        """Error of prediction plus error of reconstruction on trajectories (frames, atoms, 3).

        Both have no unit: the mean squared error of the conditional mean one step ahead, over all slow axes (their
        variance was 1 in training), and 1 - cos of the rotatable torsions after encoding and decoding.
        """
        import torch

        interval, (shortest, longest) = self.recipe.interval, self.propagator.lag_range
        step = max(1, round(np.sqrt(shortest * longest) / interval))
        usable = [np.asarray(t, dtype=np.float32) for t in trajectories[:: max(1, len(trajectories) // _ERROR_BURSTS)]]
        usable = [t for t in usable if len(t) > step]
        if not usable:
            return float("inf")
        slow = [self.propagator.encode(t) for t in usable]
        now = torch.cat([s[:-step] for s in slow])
        later = torch.cat([s[step:] for s in slow])
        mean = self.propagator.mean_step(now, float(np.clip(step * interval, shortest, longest)))
        prediction = float((mean - later).square().mean())
        return prediction + self._reconstruction(np.concatenate([t[::_ERROR_STRIDE] for t in usable]))

    def _reconstruction(self, positions: Floats) -> float:
        import torch

        from latentmd.decoders.internal_coordinates import InternalCoordinates

        coordinates = InternalCoordinates.from_topology(self.recipe.topology)
        drivers = coordinates.driver_index[coordinates.driver_kind == 0]
        decoded = self.propagator.reconstruct(*self.propagator.encode_all(positions))
        with torch.no_grad():
            frames = (torch.as_tensor(x, dtype=self.propagator.dtype) for x in (positions, decoded))
            there, back = (coordinates.to_internal(x)[2][:, drivers] for x in frames)
        return float((1 - torch.cos(there - back)).mean()) if drivers.numel() else 0.0

    def refine(self, trajectories: Sequence[Floats], seed: int) -> SurrogateExplorer:
        """A model trained on bursts (frames, atoms, 3); itself where they are too short, or the training fails."""
        from latentmd.sampling.hybrid.training import train_bundle
        from latentmd.training.loop import TrainingError

        kept = [t for t in self.recipe.chosen(trajectories, seed) if len(t) > self.recipe.shortest]
        if len(kept) < 2:
            return self
        # The bundle is loaded before the folder goes, and kept by `save`.
        with tempfile.TemporaryDirectory(prefix="latentmd-") as folder:
            try:
                path = train_bundle(kept, self.recipe, Path(folder), seed=seed)
            except TrainingError:
                return self
            refined = SurrogateExplorer(path, self.recipe, self.device)
            refined._content = path.read_bytes()
        return refined

    _content: bytes | None = None

    def save(self, folder: Path) -> None:
        """Write the bundle into a folder."""
        if self._content is not None:
            (folder / MODEL).write_bytes(self._content)
        else:
            shutil.copyfile(self.bundle, folder / MODEL)
        if self.ensemble is not None:
            self.ensemble.save(folder / ENSEMBLE)


class PlainAdaptive:
    """No surrogate: starts are real frames in cells that were visited least."""

    def features(self, positions: Floats) -> Floats:
        """No axes, shape (frames, 0)."""
        return np.zeros((len(positions), 0))

    def propose(self, starts: Floats, count: int, rng: np.random.Generator) -> Floats:
        """No structures, shape (0, atoms, 3), whatever the arguments, which are those of `SurrogateExplorer`.

        Args:
            starts: shape (starts, atoms, 3), nm.
            count: number of proposals asked for.
            rng: of the proposals.
        """
        return starts[:0]

    def disagreement(self, latents: Floats) -> Floats | None:
        """None: there is no ensemble."""
        return None

    def error(self, trajectories: Sequence[Floats]) -> float:
        """Zero: nothing is predicted, so nothing is wrong."""
        return 0.0

    def refine(self, trajectories: Sequence[Floats], seed: int) -> PlainAdaptive:
        """This object: there is nothing to train."""
        return self

    def save(self, folder: Path) -> None:
        """Write nothing: there is nothing to keep."""


@dataclass(frozen=True)
class Loader:
    """Loads the explorer that was saved in a folder.

    Attributes:
        recipe: how to train another one from bursts.
        device: of the model.
    """

    recipe: Recipe
    device: str = "cpu"

    def __call__(self, folder: Path) -> SurrogateExplorer:
        return SurrogateExplorer(folder / MODEL, self.recipe, self.device)


class _Wide:
    """Normal noise with another standard deviation."""

    def __init__(self, rng: np.random.Generator, factor: float) -> None:
        self.rng, self.factor = rng, factor

    def standard_normal(self, size: tuple[int, ...], dtype: Any = np.float64) -> Floats:
        return np.asarray(self.factor * self.rng.standard_normal(size, dtype=dtype), dtype=dtype)
