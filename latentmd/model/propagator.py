"""Positions in, positions out: a finished bundle, run without any engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.core.noise import CounterNoise
from latentmd.core.steps.flow import FlowPredictor
from latentmd.model.file import Bundle, load
from latentmd.model.manifest import TOLERANCE, split_time
from latentmd.model.paths import PathSampler, PeptideTrajectories, load_path_model, path_file
from latentmd.molecule.checks import Contacts, StructureTemplate, check_frames, structure_template
from latentmd.molecule.chemistry import Topology
from latentmd.molecule.geometry import kabsch
from latentmd.molecule.stereo import difference, stereochemistry

Noise = np.random.Generator | CounterNoise

MAX_DRAWS = 10  # decoded structures looked at before a step is given up


class UnsoundError(RuntimeError):
    """No structure that a model drew passes the checks."""


class SoundStep(NamedTuple):
    """A structure [N, 3] nm that passes the checks, and how many structures were looked at, this one included."""

    positions: Doubles
    draws: int


class Propagator:
    """A bundle with the chain encode → latent steps → decode → align.

    Positions are in nm, times in ps, energies in kJ/mol. Every draw comes from the generator passed in, so equal
    arguments give equal results.

    Args:
        bundle: a `Bundle`, the path of one, or the name of a bundled model.
        device: "auto" takes CUDA where there is a device, else the CPU.
        threads: torch threads of this process; None leaves the setting alone.
        dtype: "float32" or "float64", in which to compute; that of the bundle where None.

    Raises:
        BundleError: the bundle cannot be loaded.
        ValueError: another device or dtype.

    Attributes:
        order: for each atom of the model its index in positions; None where they are in the model's order.
    """

    order: Ints | None = None
    _topology: Topology

    def __init__(
        self, bundle: Bundle | str | Path, device: str = "auto", threads: int | None = None, dtype: str | None = None
    ) -> None:
        if dtype not in (None, "float32", "float64"):
            raise ValueError(f"dtype is {dtype!r}; expected 'float32', 'float64' or None for the model's own")
        if str(device).split(":")[0] not in ("auto", "cpu", "cuda"):
            raise ValueError(f"device is {device!r}; expected 'auto', 'cpu' or 'cuda'")
        there = torch.cuda.is_available()
        if device.startswith("cuda") and not there:
            raise ValueError(f"device is {device!r}, but torch sees no CUDA device; use 'auto' or 'cpu'")
        if threads is not None:
            torch.set_num_threads(threads)
        if device == "auto":
            device = "cuda" if there else "cpu"
        self.device = torch.device(device)
        self.bundle = bundle if isinstance(bundle, Bundle) else load(bundle, self.device)
        self.manifest = self.bundle.manifest
        wanted = dtype or self.manifest.dtype
        self.dtype = torch.float64 if wanted == "float64" else torch.float32
        self.module: Any = self.bundle.module.to(self.device)
        if wanted != self.manifest.dtype:
            self.module = copy.deepcopy(self.module).to(self.dtype)
        self.n_atoms = int(self.module.n_atoms)
        self.lag_range = self.manifest.lag
        self.temperature = self.manifest.temperature

    @property
    def has_density(self) -> bool:
        """Whether the model tells how likely a step is (`log_arrival`) and draws steps some of whose torsions are given
        (`told_step`), as models bound to a peptide do."""
        return self.manifest.of_peptides

    @property
    def mixture(self) -> FlowPredictor | None:
        """The predictor, where its steps are a mixture over cells, which it says by their number; None for others."""
        predictor = getattr(self.module, "predictor", None)
        return predictor if getattr(predictor, "cells", 0) else None

    def __repr__(self) -> str:
        shortest, longest = self.lag_range
        name = self.manifest.name or self.bundle.path.name
        return f"<Propagator {name!r}: {self.n_atoms} atoms, steps of {shortest:g} to {longest:g} ps, {self.device}>"

    def arranged(self, topology: Topology, positions: ArrayLike | None = None) -> Propagator:
        """The same model for positions in the order of atoms of a topology, in which it also answers.

        Args:
            topology: mdtraj or OpenMM topology, or Chemistry, of the molecule that the model covers.
            positions: a structure, nm, [N, 3], which tells atoms apart that bonds do not; None leaves that to names.

        Raises:
            ValueError: it is another molecule; the message says in what.
        """
        answer = self.manifest.covers(topology, None if positions is None else np.asarray(positions, dtype=np.float64))
        if not answer:
            raise ValueError(
                f"{self.manifest.called} does not cover this molecule: {answer.reason}; "
                "`latentmd inspect` prints its own"
            )
        return self.in_order(np.array(answer.order, dtype=np.int64), topology)

    def in_order(self, order: Ints, topology: Topology | None = None) -> Propagator:
        """The same model for positions in another order of its atoms.

        Args:
            order: for each atom of the model its index in positions, shape (N,); empty for the model's own order.
            topology: of the molecule in that order; the model's own, put into that order, where None.
        """
        own = not len(order) or np.array_equal(order, np.arange(len(order)))
        if own and self.order is None:
            return self
        other = copy.copy(self)
        other.__dict__.pop("template", None)  # of the former order
        other.order = None if own else np.asarray(order, dtype=np.int64)
        other._topology = self.manifest.chemistry().reordered(np.argsort(order)) if topology is None else topology
        return other

    def molecule(self) -> tuple[Topology, Floats]:
        """Topology (or Chemistry) and a structure, nm, [N, 3], in the order of positions."""
        topology, own = self.manifest.molecule()
        return (topology, own) if self.order is None else (self._topology, self.returned(own))

    def returned(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows of atoms [..., N, 3] in the model's order as rows in the order of positions."""
        if self.order is None:
            return rows
        out = np.empty_like(rows)
        out[..., self.order, :] = rows
        return out

    def split_time(self, time: float) -> tuple[int, float]:
        """`split_time` with the model's range of lags."""
        return split_time(time, self.lag_range)

    def encode(self, positions: ArrayLike) -> Tensor:
        """Slow latent axes [B, T, k] of positions [B, N, 3] nm."""
        return self.encode_all(positions)[0]

    def encode_all(self, positions: ArrayLike) -> tuple[Tensor, Tensor]:
        """Slow axes [B, T, k] and fast axes [B, T, m] of positions [B, N, 3] nm."""
        with torch.no_grad():
            slow, fast = self.module.encode(self.tensor(positions))
        return slow, fast

    def mean_step(self, slow: Tensor, lag: float) -> Tensor:
        """Conditional mean of the slow axes [B, T, k] a step of `lag` ps later; its rollouts have no meaning."""
        with torch.no_grad():
            mean: Tensor = self.module.mean_step(slow, torch.full((len(slow),), lag).to(slow))
        return mean

    def reconstruct(self, slow: Tensor, fast: Tensor) -> Doubles:
        """Positions [B, N, 3] nm, centred, of slow axes [B, T, k] and fast axes [B, T, m], without decoder noise."""
        noise = torch.zeros(len(slow), int(self.module.decode_noise)).to(slow)  # more than needed does no harm
        with torch.no_grad():
            return self.returned(self.module.reconstruct(slow, fast, noise).double().cpu().numpy())

    def rollout(self, slow: Tensor, lag: float, steps: int, rng: Noise, every: int = 1) -> Tensor:
        """Latent trajectory [steps // every, B, T, k] from slow axes [B, T, k]; the starting point is not included.

        Args:
            slow: starting slow axes.
            lag: ps, within `lag_range`.
            steps: latent steps.
            rng: source of the noise.
            every: stride of the frames kept.

        Raises:
            ValueError: the lag is outside the model's range.
        """
        shortest, longest = self.lag_range
        if not shortest * (1 - TOLERANCE) <= lag <= longest * (1 + TOLERANCE):
            raise ValueError(f"lag is {lag:g} ps; expected {shortest:g} to {longest:g} ps, the range of the model")
        lags = torch.full((slow.shape[0],), lag, dtype=self.dtype, device=self.device)
        size = int(self.module.step_noise)
        frames = torch.empty((steps // every, *slow.shape), dtype=slow.dtype, device=slow.device)
        with torch.no_grad():
            for i in range(1, steps + 1):
                slow = self.module.step(slow, lags, self._noise(rng, slow.shape[0], size))
                if i % every == 0:
                    frames[i // every - 1] = slow
        return frames

    def decode(
        self, slow: Tensor, rng: Noise, reference: ArrayLike | None = None, weights: ArrayLike | None = None
    ) -> Doubles:
        """Full-atom positions [B, N, 3] nm, in double precision, from slow axes [B, T, k].

        Args:
            slow: slow axes.
            rng: source of the fast axes and of torsions the latent does not determine.
            reference: positions [B, N, 3] or [N, 3] to align to; without them structures are centred.
            weights: [N], of the alignment; masses keep the centre of mass where it was.
        """
        with torch.no_grad():
            decoded = self.module.decode(slow, self._noise(rng, slow.shape[0], int(self.module.decode_noise)))
        mobile = decoded.to(torch.float64)
        if self.order is not None:
            mobile = torch.empty_like(mobile).index_copy_(1, torch.from_numpy(self.order).to(self.device), mobile)
        if reference is not None:
            target = torch.as_tensor(np.asarray(reference, dtype=np.float64), device=self.device)
            if weights is not None:
                weights = torch.as_tensor(np.asarray(weights, dtype=np.float64), device=self.device)
            mobile = kabsch(mobile, target.expand_as(mobile), weights)
        return np.asarray(mobile.cpu().numpy())

    def propose(self, positions: ArrayLike, time: float, rng: Noise, weights: ArrayLike | None = None) -> Doubles:
        """Positions a time later, aligned to where they were: encode, latent steps, decode, superpose.

        Args:
            positions: [N, 3] or [B, N, 3] nm, whole molecules.
            time: ps; a multiple of a lag within `lag_range`.
            rng: source of the noise.
            weights: [N], of the superposition (masses, usually).

        Returns:
            Doubles of the shape of `positions`.

        Raises:
            ValueError: the shape is wrong, or the model cannot make that time.
        """
        start = np.asarray(positions, dtype=np.float64)
        frames = start[None] if start.ndim == 2 else start
        steps, lag = self.split_time(time)
        slow = self.rollout(self.encode(frames), lag, steps, rng, every=steps)[-1]
        return self.decode(slow, rng, frames, weights).reshape(start.shape)

    def sound_step(
        self,
        positions: ArrayLike,
        time: float,
        noise: Callable[[int], Noise],
        weights: ArrayLike | None = None,
        adjust: Callable[[Doubles], Doubles] | None = None,
    ) -> SoundStep:
        """Positions a time later, the first of `MAX_DRAWS` proposals that pass the checks of structure.

        Args:
            positions: [N, 3] nm, whole molecules.
            time: ps; a multiple of a lag within `lag_range`.
            noise: source of the noise of a draw, by its number from 0.
            weights: [N], of the superposition (masses, usually), which keeps their centre where it was.
            adjust: applied to every proposal before it is checked, such as constraints.

        Raises:
            UnsoundError: no proposal passed, or the positions are another stereoisomer than the model's.
            ValueError: the shape is wrong, or the model cannot make that time.
        """
        start = np.asarray(positions, dtype=np.float64)
        failed: list[str] = []
        for draw in range(MAX_DRAWS):
            proposal = self.propose(start, time, noise(draw), weights)
            if proposal.shape != start.shape:
                raise UnsoundError(f"the model returned positions of shape {proposal.shape}; expected {start.shape}")
            if adjust is not None:
                proposal = adjust(proposal)
            both = np.stack([start, proposal])[:, slice(None) if self.order is None else self.order]
            checks = check_frames(both, self._template)
            if checks["finite"][0] and not (checks["chirality"][0] and checks["isomer"][0]):
                topology, expected = self.manifest.molecule()
                why = difference(topology, both[0], stereochemistry(topology, expected))
                raise UnsoundError(
                    f"the structure is another stereoisomer than the model's: {why}; use plain MD for it"
                )
            failed = [name for name, passed in checks.items() if not passed[1]]
            if not failed:
                return SoundStep(proposal, draw + 1)
        raise UnsoundError(f"no sound structure in {MAX_DRAWS} draws (last failed: {', '.join(failed)})")

    def energies(self, positions: ArrayLike) -> Doubles:
        """Potential energies [B] in kJ/mol of positions [B, N, 3] nm."""
        with torch.no_grad():
            return np.asarray(self.module.energy(self.tensor(positions)).double().cpu().numpy())

    def energy_and_forces(self, positions: ArrayLike) -> tuple[Doubles, Doubles]:
        """Energies [B] in kJ/mol and forces [B, N, 3] in kJ/mol/nm, the exact gradient of the energy."""
        x = self.tensor(positions).requires_grad_(True)
        energy = self.module.energy(x)
        (gradient,) = torch.autograd.grad(energy.sum(), x)
        return energy.detach().double().cpu().numpy(), self.returned(-gradient.double().cpu().numpy())

    @cached_property
    def template(self) -> StructureTemplate:
        """Bonds, angles and handedness of the molecule, for `checks`, in the order of positions."""
        return structure_template(*self.molecule())

    @cached_property
    def _template(self) -> StructureTemplate:
        """The same in the model's order, bonds, angles and contacts as in the training data where the file has them."""
        made = structure_template(*self.manifest.molecule())
        bonded = self.manifest.training.get("bonded") or {}
        moments: dict[str, Any] = {name: np.array(values) for name, values in bonded.get("moments", {}).items()}
        if bonded.get("nearest"):
            moments["contacts"] = Contacts.seen(made.symbols, made.bonds, np.array(bonded["nearest"]))
        return replace(made, **moments)

    @cached_property
    def trajectories(self) -> PathSampler:
        """Masked trajectory model of the slow axes, from the file beside the bundle or that of the bundled peptides.

        `trajectories.sample(known, mask, times, noise)` draws whatever the mask does not say is known: the frames after
        the first, those between two ends, or those between every s-th one.

        Raises:
            PathModelError: there is no such file, or it belongs to another bundle.
        """
        network, record = load_path_model(*path_file(self.bundle.path, self.manifest))
        return PeptideTrajectories(network, record, self.module) if record.kinds else network

    def checks(self, positions: ArrayLike) -> dict[str, NDArray[np.bool_]]:
        """Soundness of positions [B, N, 3] nm, frame by frame, as `latentmd.molecule.checks.check_frames` makes it."""
        x = np.asarray(positions, dtype=np.float64)
        return check_frames(x if self.order is None else x[:, self.order], self._template)

    def tensor(self, positions: ArrayLike) -> Tensor:
        """Positions in the model's order, centred in double precision: single loses 1e-7 of distance to the origin."""
        x = np.asarray(positions, dtype=np.float64)
        if x.ndim != 3 or x.shape[1:] != (self.n_atoms, 3):
            raise ValueError(f"positions have shape {x.shape}; expected (frames, {self.n_atoms}, 3) in nm")
        x = x if self.order is None else x[:, self.order]
        return torch.as_tensor(x - x.mean(axis=1, keepdims=True), dtype=self.dtype, device=self.device)

    def _noise(self, rng: Noise, frames: int, size: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal((frames, size), dtype=np.float32)).to(self.device, self.dtype)
