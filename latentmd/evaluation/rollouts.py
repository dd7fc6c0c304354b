"""Quality of a surrogate's parts on held-out MD: encoder, decoder, energy heads, and rollouts to be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from latentmd.analysis import representation, statistics
from latentmd.analysis.features import FeatureSpec, StructureTotals
from latentmd.analysis.metric import Metric
from latentmd.analysis.statistics import TORSION_PAIR_GRID
from latentmd.arrays import Floats
from latentmd.core.steps.torsions import EVER
from latentmd.io.progress import Tick, part_of, silent
from latentmd.model.bound_peptide import BoundPeptide
from latentmd.model.peptides import PeptideModel
from latentmd.molecule import checks as structure
from latentmd.molecule.chain import Chain

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_CHUNK = 1000  # chains that are drawn together


class Rollouts:
    """Rollouts of a model for one peptide; they begin at draws from lag ∞, the model's equilibrium.

    Args:
        model: the model.
        chain: the peptide.
        seed: of the random numbers.
    """

    def __init__(self, model: PeptideModel, chain: Chain, seed: int) -> None:
        self.bound = BoundPeptide(model, chain).eval()
        self.generator = torch.Generator().manual_seed(seed)

    def _noise(self, rows: int, size: int) -> Tensor:
        return torch.randn(rows, size, generator=self.generator)

    @torch.no_grad()
    def _draw(self, rows: int) -> Tensor:
        slow = torch.zeros(rows, self.bound.n_tokens, self.bound.n_slow)
        return self.bound.draw(slow, torch.full((rows,), EVER), self._noise(rows, self.bound.torsion_noise))

    def equilibrium(self, count: int) -> Floats:
        """Independent draws of torsions (count, tokens, slots), radians."""
        parts = [self._draw(min(_CHUNK, count - k)).numpy() for k in range(0, count, _CHUNK)]
        return np.concatenate(parts)

    @torch.no_grad()
    def torsions(self, walkers: int, steps: int, lag: float) -> Floats:
        """Torsions (steps, walkers, tokens, slots) of rollouts, without structures.

        Args:
            walkers: independent rollouts.
            steps: of each.
            lag: ps of a step.
        """
        angles, lags, out = self._draw(walkers), torch.full((walkers,), lag), []
        for _ in range(steps):
            angles = self.bound.draw(self.bound.latent(angles), lags, self._noise(walkers, self.bound.torsion_noise))
            out.append(angles.numpy())
        return np.stack(out)

    @torch.no_grad()
    def decoded(self, walkers: int, steps: int, lag: float) -> tuple[Floats, Floats]:
        """Rollouts as a user gets them, every step decoded.

        Args:
            walkers: independent rollouts.
            steps: of each.
            lag: ps of a step.

        Returns:
            Torsions (steps, walkers, tokens, slots) of the structures, and structures (steps · walkers, atoms, 3) nm.
        """
        slow, lags = self.bound.state(self._draw(walkers)), torch.full((walkers,), lag)
        angles, structures = [], []
        for _ in range(steps):
            slow = self.bound.step(slow, lags, self._noise(walkers, self.bound.step_noise))
            positions = self.bound.decode(slow, self._noise(walkers, self.bound.decode_noise))
            angles.append(self.bound.angles(positions).numpy())
            structures.append(positions.numpy())
        return np.stack(angles), np.concatenate(structures)


_BATCH = 512
_PART = 100  # latent steps between two reports of progress
DECODED_FRAMES = 1000  # frames of the rollouts whose energies the engine computes, of all walkers in turn


@dataclass(frozen=True)
class Rollout:
    """Rollouts of a surrogate, decoded.

    Attributes:
        runs: features per walker, (frames, features).
        kept: whole frames of the first walker, (kept, atoms, 3) in nm.
        sampled: whole frames of all walkers, as many, spread over the rollouts.
        totals: structure checks of every frame.
        seconds: wall time of latent steps and decoding.
    """

    runs: list[Floats]
    kept: Floats
    sampled: Floats
    totals: StructureTotals
    seconds: float


def encode(propagator: Propagator, positions: Floats) -> tuple[Floats, Floats]:
    """(slow, fast) axes of frames, shapes (frames, slow) and (frames, fast), in batches."""
    slow, fast = [], []
    for start in range(0, len(positions), _BATCH):
        parts = propagator.encode_all(positions[start : start + _BATCH])
        slow.append(parts[0].flatten(1).double().cpu().numpy())
        fast.append(parts[1].flatten(1).double().cpu().numpy())
    return np.concatenate(slow), np.concatenate(fast)


def decode_rollout(
    propagator: Propagator, path: Any, spec: FeatureSpec, template: structure.StructureTemplate,
    rng: np.random.Generator, kept: int = DECODED_FRAMES, tick: Tick = silent,
) -> tuple[list[Floats], Floats, Floats, StructureTotals]:  # fmt: skip
    """Decode a latent path step by step: features per walker, whole frames of one and of all, structure checks.

    Args:
        propagator: decodes.
        path: slow axes, tensor (steps, walkers, tokens, axes).
        spec: features to compute.
        template: of the structure checks.
        rng: draws the fast axes.
        tick: called with the steps decoded and their number.
        kept: whole frames to keep at least, where there are as many: of the first walker, and of all of them.
    """
    totals, values, frames = StructureTotals(), [], []
    sampled: list[Floats] = []
    stride = max(1, len(path) // kept)
    per_step = -(-kept * stride // len(path))  # walkers whose frame is kept at a step
    for step, slow in enumerate(path):
        positions = propagator.decode(slow, rng)
        tick(step, len(path))
        values.append(spec.values(positions))
        totals.add(positions, template)
        if step % stride == 0:
            frames.append(positions[0].astype(np.float32))
            turn = (np.arange(per_step) + len(sampled) * per_step) % len(positions)
            sampled.append(positions[np.unique(turn)].astype(np.float32))
    stacked = np.stack(values, axis=1)
    return list(stacked), np.stack(frames), np.concatenate(sampled), totals


def generate(
    propagator: Propagator, starts: Floats, lag: float, steps: int, spec: FeatureSpec,
    template: structure.StructureTemplate, rng: np.random.Generator, tick: Tick = silent,
) -> Rollout:  # fmt: skip
    """Roll out and decode every latent step.

    Args:
        propagator: the surrogate.
        starts: positions each walker starts from, (walkers, atoms, 3) in nm.
        lag: ps per step.
        steps: frames per walker.
        spec, template: what to compute of every frame.
        rng: source of all noise.
        tick: called with what is done of the latent steps and of their decoding, and with both together.
    """
    import time

    import torch

    begin = time.perf_counter()
    last, parts = propagator.encode(starts), []
    for done in range(0, steps, _PART):
        parts.append(propagator.rollout(last, lag, min(_PART, steps - done), rng))
        last = parts[-1][-1]
        tick(done, 2 * steps)
    path = torch.cat(parts)
    rolled = time.perf_counter() - begin
    slow = path[:: max(1, steps // 20)]
    begin = time.perf_counter()
    for part in slow:
        propagator.decode(part, rng)
    # Decoding alone is timed on every 20th part, so that the cost of the checks is not counted.
    seconds = rolled + (time.perf_counter() - begin) * steps / len(slow)
    decoded = decode_rollout(propagator, path, spec, template, rng, tick=part_of(tick, steps, 2 * steps))
    return Rollout(*decoded, seconds)


def reconstruction_metrics(
    propagator: Propagator, frames: Floats, spec: FeatureSpec, template: structure.StructureTemplate, topology: Any,
    rng: np.random.Generator,
) -> list[Metric]:  # fmt: skip
    """decode(encode(x)) against x on held-out frames: torsions, heavy-atom RMSD, (phi, psi) JS distance, invariance.

    Args:
        propagator: the surrogate.
        frames: held-out positions in nm, shape (frames, atoms, 3).
        spec: features to compare.
        template: names the heavy atoms.
        topology: mdtraj topology.
        rng: draws the rotation.
    """
    slow, fast = propagator.encode_all(frames)
    mirrored = propagator.encode(frames * np.array([1.0, 1.0, -1.0]))
    turn = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    turned = propagator.encode(frames @ (turn * np.sign(np.linalg.det(turn))))
    decoded = propagator.reconstruct(slow, fast)
    a, b = spec.values(frames), spec.values(decoded)
    scale = float(slow.square().mean().sqrt())
    rows = []
    if spec.kind == "torsions":
        error = np.rad2deg(np.abs(np.angle(np.exp(1j * (np.asarray(b, np.float64) - a)))).mean(axis=0))
        worst = int(np.argmax(error))
        rows.append(Metric("torsion error of decode(encode(x)), worst", "model", float(error[worst]), "degrees",
                           note=spec.names[worst]))  # fmt: skip
    rows += _rotor_errors(topology, frames, decoded)
    if spec.pairs:
        pair = list(spec.pairs[0])
        value = statistics.sample_js_distance(b[:, pair], a[:, pair], TORSION_PAIR_GRID)
        floor = statistics.sample_js_distance(a[::2, pair], a[1::2, pair], TORSION_PAIR_GRID)
        rows.append(Metric("JS distance of decode(encode(x)), (phi, psi)", "model", value, floor=floor,
                           note="floor: the frames' two halves"))  # fmt: skip
    rmsd = structure.aligned_rmsd(decoded, frames, template.heavy)
    rows.append(Metric("heavy-atom RMSD of decode(encode(x))", "model", float(rmsd.mean()), "nm"))
    for label, other in (("rotation", turned), ("reflection", mirrored)):
        change = float((other - slow).square().mean().sqrt()) / scale
        rows.append(Metric(f"change of z under {label}", "model", change, note="RMS change over RMS z"))
    return rows


def _rotor_errors(topology: Any, frames: Floats, decoded: Floats) -> list[Metric]:
    """Mean error of the worst rotor of equivalent hydrogens (CH3, NH3+), modulo 120 degrees.

    The torsion of one hydrogen is compared, and which of the three it decodes to is arbitrary: the error includes how
    far the three are from 120 degrees apart.
    """
    import torch

    from latentmd.decoders.internal_coordinates import InternalCoordinates

    coordinates = InternalCoordinates.from_topology(topology)
    rotors = coordinates.driver_index[coordinates.driver_kind == 3]
    if not len(rotors):
        return []
    before, after = (
        coordinates.to_internal(torch.as_tensor(np.asarray(x), dtype=torch.float64))[2][:, rotors].numpy()
        for x in (frames, decoded)
    )
    error = np.rad2deg(np.abs(np.angle(np.exp(3j * (after - before)))).mean(axis=0)) / 3
    return [Metric("methyl error of decode(encode(x)), worst", "model", float(error.max()), "degrees",
                   note="modulo 120 degrees")]  # fmt: skip


def probe_metrics(
    train: tuple[Sequence[Floats], Sequence[Floats], Sequence[Floats]],
    test: tuple[Sequence[Floats], Sequence[Floats], Sequence[Floats]],
    spec: FeatureSpec, lag: int, vampnet_seconds: float, seed: int, tick: Tick = silent,
) -> list[Metric]:  # fmt: skip
    """Rank, deviations, probes and VAMP-2 of the slow axes on held-out runs, beside TICA and a VAMPnet.

    Args:
        train, test: per run: slow axes, fast axes and features, each (frames, ...), of equally spaced frames.
        spec: the features.
        lag: frames, of the VAMP-2 scores.
        vampnet_seconds: training time of each VAMPnet.
        seed: of the VAMPnets.
        tick: called with the seconds of training done and their number.
    """
    group = "representation"
    slow, fast, values = (np.concatenate(list(x)) for x in test)
    slow0, fast0, values0 = (np.concatenate(list(x)) for x in train)
    everything, everything0 = np.concatenate([slow, fast], axis=1), np.concatenate([slow0, fast0], axis=1)
    least, mean = representation.axis_deviations(everything)
    count = slow.shape[1]
    rows = [
        Metric("effective rank, all axes", group, representation.rank_me(everything), "", everything.shape[1],
               note="reference: number of axes"),
        Metric("effective rank, slow axes", group, representation.rank_me(slow), "", count,
               note="reference: number of axes"),
        Metric("axis deviation, smallest", group, least), Metric("axis deviation, mean", group, mean),
    ]  # fmt: skip
    targets, targets0 = spec.coordinates(values), spec.coordinates(values0)
    for label, x0, x in (("all axes", everything0, everything), ("slow axes", slow0, slow)):
        score = representation.linear_probe_r2(x0, targets0, x, targets)
        rows.append(Metric(f"linear probe R2 of {spec.kind}, {label}, worst", group, float(np.nanmin(score))))
    inputs = [[spec.coordinates(v) for v in s[2]] for s in (train, test)]
    return rows + vamp_metrics(
        inputs[0], inputs[1], test[0], kind=spec.kind, lag=lag, seconds=vampnet_seconds, seed=seed, tick=tick
    )


def vamp_metrics(
    train: Sequence[Floats], test: Sequence[Floats], slow: Sequence[Floats], kind: str, lag: int, seconds: float,
    seed: int, vampnets: int = 3, tick: Tick = silent,
) -> list[Metric]:  # fmt: skip
    """VAMP-2 of the slow axes beside TICA's and three VAMPnets', all scored on the same held-out pairs of frames.

    The rivals are fitted on the training runs and give as many outputs as there are slow axes (TICA no more than it has
    inputs). Intervals are a bootstrap over the held-out runs.

    Args:
        train, test: inputs of TICA and the VAMPnets per run, (frames, columns).
        slow: slow axes of the test runs, (frames, axes).
        kind: what the inputs are.
        lag: frames.
        seconds: training time of each VAMPnet.
        seed: of the first VAMPnet; the others take the next ones.
        vampnets: how many are trained.
        tick: called with the seconds of training done and their number.
    """
    count = slow[0].shape[1]
    tica = representation.tica_outputs(train, test, lag, min(count, train[0].shape[1]))
    nets = [
        representation.vampnet_outputs(
            train, test, lag, dimension=count, seconds=seconds, seed=seed + k,
            tick=part_of(tick, k * seconds, vampnets * seconds),
        )
        for k in range(vampnets)
    ]  # fmt: skip
    sets = [slow, tica, *nets]
    scores = [representation.vamp2_score(s, lag) for s in sets]
    draws = representation.vamp2_resamples(sets, lag, np.random.default_rng(seed))
    merged = np.column_stack([draws[:, :2], draws[:, 2:].mean(axis=1)])
    low, high = np.quantile(np.column_stack([merged, merged[:, :1] - merged[:, 2:]]), [0.025, 0.975], axis=0)
    net = float(np.mean(scores[2:]))
    values = (scores[0], scores[1], net, scores[0] - net)
    names = ("slow axes", f"TICA on {kind}", f"VAMPnet on {kind}", "slow axes less VAMPnet")
    each = ", ".join(f"{s:.4f}" for s in scores[2:])
    sizes = f"{count} outputs, lag {lag} frame(s), {len(test)} held-out runs"
    notes = (sizes, f"{tica[0].shape[1]} outputs", f"{count} outputs; {vampnets} seeds of {seconds:g} s: {each}",
             "paired over the same resampled runs")  # fmt: skip
    return [
        Metric(f"VAMP-2, {name}", "representation", value, low=float(a), high=float(b), note=note)
        for name, value, a, b, note in zip(names, values, low, high, notes, strict=True)
    ]


def prediction_gain(propagator: Propagator, latents: Sequence[Floats], lag: int, lag_time: float) -> Metric:
    """Gain of the deterministic mean step over persistence on held-out slow axes, (frames, axes) per run.

    Args:
        propagator: the surrogate.
        latents: slow axes per run, (frames, axes).
        lag: frames.
        lag_time: the same in ps.
    """
    import torch

    runs = [z for z in latents if len(z) > lag]
    x, y = np.concatenate([z[:-lag] for z in runs]), np.concatenate([z[lag:] for z in runs])
    z = torch.as_tensor(x, dtype=propagator.dtype, device=propagator.device)
    z = z.reshape(len(x), -1, int(propagator.manifest.slow_axes))
    mean = propagator.mean_step(z, lag_time)
    gain = representation.persistence_gain(x, y, mean.flatten(1).double().cpu().numpy())
    return Metric(f"gain over persistence, lag {lag_time:g} ps", "representation", gain)
