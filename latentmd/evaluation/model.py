"""Quality of a surrogate's parts on held-out MD: encoder, decoder, energy heads, and rollouts to be evaluated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.evaluation import representation, statistics, structure
from latentmd.evaluation.features import FeatureSpec, StructureTotals
from latentmd.evaluation.reference import Metric
from latentmd.evaluation.statistics import TORSION_PAIR_GRID, Floats

if TYPE_CHECKING:
    from latentmd.propagator import Propagator
    from latentmd.systems.builder import Molecule

_BATCH = 512
ENGINE_FRAMES = 500  # frames whose energies and forces the engine computes


@dataclass(frozen=True)
class Rollout:
    """Rollouts of a surrogate, decoded.

    Attributes:
        runs: features per walker, (frames, features).
        kept: whole frames spread over the rollouts, (kept, atoms, 3) in nm.
        totals: structure checks of every frame.
        seconds: wall time of latent steps and decoding.
    """

    runs: list[Floats]
    kept: Floats
    totals: StructureTotals
    seconds: float


def encode(propagator: Propagator, positions: Floats) -> tuple[Floats, Floats]:
    """(slow, fast) axes of frames, shapes (frames, slow) and (frames, fast), in batches."""
    import torch

    slow, fast = [], []
    with torch.no_grad():
        for start in range(0, len(positions), _BATCH):
            frames = np.asarray(positions[start : start + _BATCH], dtype=np.float64)
            frames = frames - frames.mean(axis=1, keepdims=True)
            parts = propagator.module.encode(torch.as_tensor(frames, dtype=propagator.dtype, device=propagator.device))
            slow.append(parts[0].flatten(1).double().cpu().numpy())
            fast.append(parts[1].flatten(1).double().cpu().numpy())
    return np.concatenate(slow), np.concatenate(fast)


def decode_rollout(
    propagator: Propagator, path: Any, spec: FeatureSpec, template: structure.StructureTemplate,
    rng: np.random.Generator, kept: int = 1000,
) -> tuple[list[Floats], Floats, StructureTotals]:  # fmt: skip
    """Decode a latent path step by step: features per walker, a few whole frames, structure checks.

    Args:
        propagator: decodes.
        path: slow axes, tensor (steps, walkers, tokens, axes).
        spec: features to compute.
        template: of the structure checks.
        rng: draws the fast axes.
        kept: whole frames to keep, of the first walker.
    """
    totals, values, frames = StructureTotals(), [], []
    stride = max(1, len(path) // kept)
    for step, slow in enumerate(path):
        positions = propagator.decode(slow, rng)
        values.append(spec.values(positions))
        totals.add(positions, template)
        if step % stride == 0:
            frames.append(positions[0].astype(np.float32))
    stacked = np.stack(values, axis=1)
    return list(stacked), np.stack(frames), totals


def generate(
    propagator: Propagator, starts: Floats, lag: float, steps: int, spec: FeatureSpec,
    template: structure.StructureTemplate, rng: np.random.Generator,
) -> Rollout:  # fmt: skip
    """Roll out and decode every latent step.

    Args:
        propagator: the surrogate.
        starts: positions each walker starts from, (walkers, atoms, 3) in nm.
        lag: ps per step.
        steps: frames per walker.
        spec, template: what to compute of every frame.
        rng: source of all noise.
    """
    import time

    begin = time.perf_counter()
    path = propagator.rollout(propagator.encode(starts), lag, steps, rng)
    rolled = time.perf_counter() - begin
    slow = path[:: max(1, steps // 20)]
    begin = time.perf_counter()
    for part in slow:
        propagator.decode(part, rng)
    # Decoding alone is timed on every 20th part, so that the cost of the checks is not counted.
    seconds = rolled + (time.perf_counter() - begin) * steps / len(slow)
    return Rollout(*decode_rollout(propagator, path, spec, template, rng), seconds)


def reconstruction_metrics(
    propagator: Propagator, frames: Floats, spec: FeatureSpec, template: structure.StructureTemplate,
    rng: np.random.Generator,
) -> list[Metric]:  # fmt: skip
    """decode(encode(x)) against x on held-out frames: torsions, heavy-atom RMSD, (phi, psi) JS distance, invariance."""
    import torch

    tensor = propagator._tensor(frames)
    size = int(propagator.module.decode_noise)
    with torch.no_grad():
        slow, fast = propagator.module.encode(tensor)
        mirrored = propagator.module.encode(tensor * torch.tensor([1.0, 1.0, -1.0], dtype=tensor.dtype))[0]
        turn = torch.linalg.qr(torch.as_tensor(rng.standard_normal((3, 3)), dtype=tensor.dtype))[0]
        turn = turn * torch.linalg.det(turn).sign()
        turned = propagator.module.encode(tensor @ turn)[0]
        noise = torch.zeros(len(tensor), size - fast[0].numel(), dtype=tensor.dtype)
        decoded = propagator.module.reconstruct(slow, fast, noise).double().numpy()
    a, b = spec.values(frames), spec.values(decoded)
    scale = float(slow.square().mean().sqrt())
    rows = []
    if spec.kind == "torsions":
        error = np.rad2deg(np.abs(np.angle(np.exp(1j * (np.asarray(b, np.float64) - a)))).mean(axis=0))
        worst = int(np.argmax(error))
        rows.append(Metric("torsion error of decode(encode(x)), worst", "model", float(error[worst]), "degrees",
                           note=spec.names[worst]))  # fmt: skip
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


def probe_metrics(
    train: tuple[Sequence[Floats], Sequence[Floats], Sequence[Floats]],
    test: tuple[Sequence[Floats], Sequence[Floats], Sequence[Floats]],
    spec: FeatureSpec, lag: int, vampnet_seconds: float, seed: int,
) -> list[Metric]:  # fmt: skip
    """Rank, deviations, probes and VAMP-2 of the slow axes on held-out runs, beside TICA and a VAMPnet.

    Args:
        train, test: per run: slow axes, fast axes and features, each (frames, ...), of equally spaced frames.
        spec: the features.
        lag: frames, of the VAMP-2 scores.
        vampnet_seconds: training time of the VAMPnet.
        seed: of the VAMPnet.
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
    torsions = [[spec.coordinates(v) for v in s[2]] for s in (train, test)]
    dimension = min(count, torsions[0][0].shape[1])
    rivals = {
        "TICA": representation.tica_scores(torsions[0], torsions[1], lag, dimension),
        "VAMPnet": representation.vampnet_scores(torsions[0], torsions[1], lag, dimension, vampnet_seconds, seed),
    }
    note = ", ".join(f"{name} on {spec.kind} {value:.4f}" for name, value in rivals.items())
    rows.append(Metric("VAMP-2, slow axes", group, representation.vamp2_score(test[0], lag), "",
                       max(rivals.values()), note=note))  # fmt: skip
    return rows


def prediction_gain(propagator: Propagator, latents: Sequence[Floats], lag: int, lag_time: float) -> Metric:
    """Gain of the deterministic mean step over persistence on held-out slow axes, (frames, axes) per run."""
    import torch

    runs = [z for z in latents if len(z) > lag]
    x, y = np.concatenate([z[:-lag] for z in runs]), np.concatenate([z[lag:] for z in runs])
    z = torch.as_tensor(x, dtype=propagator.dtype, device=propagator.device)
    z = z.reshape(len(x), -1, int(propagator.manifest.slow_axes))
    with torch.no_grad():
        mean = propagator.module.mean_step(z, torch.full((len(z),), lag_time, dtype=z.dtype, device=z.device))
    gain = representation.persistence_gain(x, y, mean.flatten(1).double().cpu().numpy())
    return Metric(f"gain over persistence, lag {lag_time:g} ps", "representation", gain)


def energy_metrics(propagator: Propagator, molecule: Molecule, frames: Floats, decoded: Floats) -> list[Metric]:
    """Energy head against the engine on held-out frames, and engine energies of decoded frames after relaxation.

    Args:
        propagator: the surrogate.
        molecule: the same molecule, parametrised as its training data.
        frames: held-out MD frames, (frames, atoms, 3) in nm.
        decoded: frames of the surrogate's rollouts.
    """
    import openmm

    context = molecule.context(molecule.langevin(1))
    energies, forces = _engine(context, frames)
    predicted, own = propagator.energy_and_forces(frames)
    offset = float(np.mean(energies - predicted))  # a constant of the energy has no meaning
    r2 = 1 - np.var(energies - predicted) / np.var(energies)
    relative = np.sqrt(np.mean((own - forces) ** 2) / np.mean(forces**2))
    relaxed = np.empty(len(decoded))
    bounds = np.quantile(energies, [0.001, 0.999])
    for i, frame in enumerate(decoded):
        context.setPositions(frame)
        openmm.LocalEnergyMinimizer.minimize(context, 10.0, 50)
        context.setVelocitiesToTemperature(molecule.protocol.temperature, i + 1)
        context.getIntegrator().step(round(1.0 / molecule.protocol.timestep))
        relaxed[i] = context.getState(energy=True).getPotentialEnergy()._value
    inside = float(np.mean((relaxed >= bounds[0]) & (relaxed <= bounds[1])))
    return [
        Metric("energy head R2", "energy", float(r2),
               note=f"{len(frames)} held-out frames; mean offset {offset:.2f} kJ/mol"),
        Metric("force error over force RMS", "energy", float(relative)),
        Metric("decoded frames in MD's energy range after relaxation", "energy", inside, "",
               note=f"{len(decoded)} frames, minimised and 1 ps of MD; MD's 0.1 to 99.9 % of {len(frames)} frames"),
    ]  # fmt: skip


def _engine(context: Any, frames: Floats) -> tuple[Floats, Floats]:
    energies, forces = np.empty(len(frames)), np.empty(np.shape(frames))
    for i, frame in enumerate(frames):
        context.setPositions(np.asarray(frame, dtype=np.float64))
        state = context.getState(energy=True, forces=True)
        energies[i] = state.getPotentialEnergy()._value
        forces[i] = state.getForces(asNumpy=True)._value
    return energies, forces
