"""Metrics of single frames beside the reference's: structure checks, energies in the engine, decode(encode(x))."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import mdtraj
import numpy as np
import openmm

from latentmd.analysis import statistics, thermodynamics
from latentmd.analysis.features import FeatureSet, StructureTotals
from latentmd.analysis.metric import SHARE, Metric
from latentmd.analysis.statistics import TORSION_PAIR_GRID, Estimate, binomial_interval, evenly
from latentmd.arrays import Doubles, Floats
from latentmd.io.progress import Tick, part_of, silent
from latentmd.molecule import checks as structure
from latentmd.molecule.checks import StructureTemplate
from latentmd.systems.protocol import Protocol
from latentmd.systems.relaxation import StopBelow

if TYPE_CHECKING:
    from latentmd.evaluation.rollouts import Decoding
    from latentmd.model.propagator import Propagator

FORCE_FRAMES = 500  # held-out frames whose forces the energy head is compared with
CONTROL_FRAMES = 500  # held-out MD frames that go through the same relaxation
_BURST = 1.0  # ps of MD after decoding, with new velocities
_MINIMISER_STEPS = 100


def structure_metrics(own: FeatureSet, md: FeatureSet, template: StructureTemplate) -> list[Metric]:
    """Fractions of frames that pass each structure check, and z-scores of bonds and angles, beside the reference's."""
    other = StructureTotals()
    other.add(np.asarray(md.kept, dtype=np.float64), template)
    totals, rows = (own.totals, other), []
    labels = ("bond lengths valid", "bond angles valid", "stereocentres right", "amides cis or trans as at the start")
    for name, label in zip(("bonds", "angles", "chirality", "isomer", "clashes"), (*labels, "no clash"), strict=True):
        note = "no stereocentre in this molecule" if name == "chirality" and len(template.centres) == 0 else ""
        shares = [t.passed[name] / t.frames for t in totals]
        rows.append(Metric(f"frames, {label}", "structure", shares[0], SHARE, shares[1], note=note))
    sound = [t.valid / t.frames for t in totals]
    rows.append(Metric("frames, all checks", "structure", sound[0], SHARE, sound[1]))
    for label, squares in (("bond", [t.bond_square for t in totals]), ("angle", [t.angle_square for t in totals])):
        values = [float(np.sqrt(square / t.frames)) for square, t in zip(squares, totals, strict=True)]
        rows.append(Metric(f"{label} z-score, RMS", "structure", values[0], "", values[1]))
    return rows


def energy_metrics(reference: Floats | None, generated: Floats | None) -> list[Metric]:
    """Generated potential energies (frames,) in kJ/mol inside MD's range; nothing where one of the two is unknown."""
    if reference is None or generated is None:
        return []
    bounds = thermodynamics.energy_range(reference)
    inside = [thermodynamics.fraction_inside(e, bounds) for e in (generated, reference)]
    note = f"{bounds[0]:.1f} to {bounds[1]:.1f} kJ/mol, from {len(reference)} frames"
    return [
        Metric("frames in MD's 0.1 to 99.9 % of energies", "energy", inside[0], SHARE, inside[1], note=note),
        Metric("mean potential energy", "energy", float(np.mean(generated)), "kJ/mol", float(np.mean(reference))),
    ]


class Relaxed(NamedTuple):
    """Engine energies (kJ/mol, infinite where it failed) before and after relaxation, and how many were minimised."""

    before: Floats
    after: Floats
    minimised: int


def engine_metrics(
    propagator: Propagator, context: openmm.Context, protocol: Protocol, frames: Floats, decoded: Floats,
    tick: Tick = silent,
) -> list[Metric]:  # fmt: skip
    """Energy head against the engine on held-out frames, and engine energies of decoded frames and, as a control, of
    held-out ones, raw and relaxed, in MD's 0.1 to 99.9 % range.
    """
    energies = engine_energies(context, frames)
    rows = _head_metrics(propagator, context, frames[evenly(len(frames), FORCE_FRAMES)])
    bounds, median = thermodynamics.energy_range(energies), float(np.median(energies))
    some = frames[evenly(len(frames), CONTROL_FRAMES)]
    total = len(decoded) + len(some)
    own, control = (
        relax(context, protocol, x, highest=bounds[1], target=median, tick=part_of(tick, begun, total))
        for x, begun in ((decoded, 0), (some, len(decoded)))
    )
    span = f"MD's 0.1 to 99.9 %: {bounds[0]:.1f} to {bounds[1]:.1f} kJ/mol, of {len(frames)} held-out frames"
    how = f"{own.minimised} frames above it minimised down to MD's median, then all {_BURST:g} ps of MD"
    for label, pair, note in (
        ("as decoded", (own.before, control.before), f"{span}; {_outside(own.before, bounds)}"),
        ("after relaxation", (own.after, control.after),
         f"{how}; {_outside(own.after, bounds)}; reference: {len(control.after)} MD frames"),
    ):  # fmt: skip
        shares = ((thermodynamics.fraction_inside(e, bounds), len(e)) for e in pair)
        mine, md = (Estimate(share, *binomial_interval(share, count)) for share, count in shares)
        name = f"decoded frames in MD's energy range {label}"
        rows.append(Metric.of(name, "energy", mine, md, unit=SHARE, note=note))
    return rows


def _outside(energies: Floats, bounds: tuple[float, float]) -> str:
    low, high = np.count_nonzero(energies < bounds[0]), np.count_nonzero(~(energies <= bounds[1]))
    return f"{low} below and {high} above of {len(energies)}"


def _head_metrics(propagator: Propagator, context: openmm.Context, frames: Floats) -> list[Metric]:
    energies, forces = engine_forces(context, frames)
    predicted, own = propagator.energy_and_forces(frames)
    offset = float(np.mean(energies - predicted))  # a constant of the energy has no meaning
    r2 = 1 - np.var(energies - predicted) / np.var(energies)
    relative = np.sqrt(np.mean((own - forces) ** 2) / np.mean(forces**2))
    note = f"{len(frames)} held-out frames; mean offset {offset:.2f} kJ/mol"
    return [
        Metric("energy head R2", "energy", float(r2), note=note),
        Metric("force error over force RMS", "energy", float(relative)),
    ]


def _states(context: openmm.Context, frames: Floats, forces: bool = False) -> Iterator[openmm.State]:
    for frame in frames:
        context.setPositions(np.asarray(frame, dtype=np.float64))
        yield context.getState(energy=True, forces=forces)


def engine_energies(context: openmm.Context, frames: Floats) -> Floats:
    """Potential energies of frames (frames, atoms, 3) nm in an OpenMM Context, kJ/mol."""
    return np.array([state.getPotentialEnergy()._value for state in _states(context, frames)])


def engine_forces(context: openmm.Context, frames: Floats) -> tuple[Doubles, Doubles]:
    """The same, and forces (frames, atoms, 3) in kJ/mol/nm."""
    states = _states(context, frames, forces=True)
    pairs = [(state.getPotentialEnergy()._value, state.getForces(asNumpy=True)._value) for state in states]
    energies, forces = (np.array(column) for column in zip(*pairs, strict=True))
    return energies, forces


def relax(
    context: openmm.Context, protocol: Protocol, frames: Floats, highest: float, target: float, tick: Tick = silent
) -> Relaxed:
    """Before the MD of an alternation: minimise frames above `highest` kJ/mol down to `target`; then MD of all."""
    before = engine_energies(context, frames)
    after, minimised = np.empty(len(frames)), 0
    for i, frame in enumerate(frames):
        tick(i, len(frames))
        context.setPositions(np.asarray(frame, dtype=np.float64))
        try:
            if not before[i] <= highest:
                minimised += 1
                openmm.LocalEnergyMinimizer.minimize(
                    context, maxIterations=_MINIMISER_STEPS, reporter=StopBelow(target)
                )
            context.applyConstraints(1e-8)
            context.setVelocitiesToTemperature(protocol.temperature, i + 1)
            context.getIntegrator().step(round(_BURST / protocol.timestep))
            after[i] = context.getState(energy=True).getPotentialEnergy()._value
        except openmm.OpenMMException:  # not a number: a structure too strained to be mended
            after[i] = np.inf
    return Relaxed(before, after, minimised)


def reconstruction_metrics(decoding: Decoding, frames: Floats, topology: mdtraj.Topology) -> list[Metric]:
    """decode(encode(x)) against x on held-out frames (frames, atoms, 3) in nm, and invariance of the latent."""
    propagator, spec = decoding.propagator, decoding.spec
    slow, fast = propagator.encode_all(frames)
    mirrored = propagator.encode(frames * np.array([1.0, 1.0, -1.0]))
    turn = np.linalg.qr(decoding.rng.standard_normal((3, 3)))[0]
    turned = propagator.encode(frames @ (turn * np.sign(np.linalg.det(turn))))
    decoded = propagator.reconstruct(slow, fast)
    a, b = (spec.values(x)[:, : len(spec.names)] for x in (frames, decoded))
    scale = float(slow.square().mean().sqrt())
    rows = []
    if spec.kind == "torsions":
        error = np.rad2deg(np.abs(np.angle(np.exp(1j * (np.asarray(b, np.float64) - a)))).mean(axis=0))
        name, worst = "torsion error of decode(encode(x)), worst", int(np.argmax(error))
        rows.append(Metric(name, "model", float(error[worst]), "degrees", note=spec.names[worst]))
    rows += _rotor_errors(topology, frames, decoded)
    if spec.pairs:
        pair = list(spec.pairs[0])
        value = statistics.sample_js_distance(b[:, pair], a[:, pair], TORSION_PAIR_GRID)
        floor = statistics.sample_js_distance(a[::2, pair], a[1::2, pair], TORSION_PAIR_GRID)
        name, note = "JS distance of decode(encode(x)), (phi, psi)", "floor: the frames' two halves"
        rows.append(Metric(name, "model", value, floor=floor, note=note))
    rmsd = structure.aligned_rmsd(decoded, frames, decoding.template.heavy)
    rows.append(Metric("heavy-atom RMSD of decode(encode(x))", "model", float(rmsd.mean()), "nm"))
    for label, other in (("rotation", turned), ("reflection", mirrored)):
        change = float((other - slow).square().mean().sqrt()) / scale
        rows.append(Metric(f"change of z under {label}", "model", change, note="RMS change over RMS z"))
    return rows


def _rotor_errors(topology: mdtraj.Topology, frames: Floats, decoded: Floats) -> list[Metric]:
    """Mean error of the worst rotor (CH3, NH3+), modulo 120 degrees; which of the three a hydrogen is, is arbitrary."""
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
    name = "methyl error of decode(encode(x)), worst"
    return [Metric(name, "model", float(error.max()), "degrees", note="modulo 120 degrees")]
