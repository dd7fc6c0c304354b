"""Energies of decoded frames in the engine: against its own frames, the model's energy head, and after relaxation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis import thermodynamics
from latentmd.analysis.metric import SHARE, Metric
from latentmd.analysis.statistics import binomial_interval
from latentmd.arrays import Floats
from latentmd.io.progress import Tick, part_of, silent

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.systems.builder import Molecule

FORCE_FRAMES = 500  # held-out frames whose forces the energy head is compared with
CONTROL_FRAMES = 500  # held-out MD frames that go through the same relaxation
_BURST = 1.0  # ps of MD after decoding, with new velocities
_MINIMISER_STEPS = 100


@dataclass(frozen=True)
class Relaxed:
    """Engine energies of structures before and after relaxation.

    Attributes:
        before, after: kJ/mol, shape (frames,); infinite where the engine failed.
        minimised: how many lay above MD's range and were minimised first.
    """

    before: Floats
    after: Floats
    minimised: int


def energy_metrics(
    propagator: Propagator,
    molecule: Molecule,
    platform: str,
    frames: Floats,
    decoded: Floats,
    tick: Tick = silent,
) -> list[Metric]:
    """Energy head against the engine on held-out frames, and engine energies of decoded frames, raw and relaxed.

    MD's range is that of instantaneous energies, from their 0.1 to their 99.9 % quantile, so that 99.8 % of MD's own
    frames lie inside. The same relaxation of held-out MD frames is the control.

    Args:
        propagator: the surrogate.
        molecule: the same molecule, parametrised as its training data.
        platform: of OpenMM.
        frames: held-out MD frames, (frames, atoms, 3) in nm.
        decoded: frames of the surrogate's rollouts.
        tick: called with the frames relaxed and their number.
    """
    context = molecule.context(molecule.langevin(1), platform)
    energies = engine_energies(context, frames)
    rows = _head_metrics(propagator, context, _spread(frames, FORCE_FRAMES))
    bounds, median = thermodynamics.energy_range(energies), float(np.median(energies))
    some, protocol = _spread(frames, CONTROL_FRAMES), molecule.protocol
    total = len(decoded) + len(some)
    own, control = (
        relax(
            context, x, bounds[1], target=median, temperature=protocol.temperature, timestep=protocol.timestep,
            tick=part_of(tick, begun, total),
        )
        for x, begun in ((decoded, 0), (some, len(decoded)))
    )  # fmt: skip
    span = f"MD's 0.1 to 99.9 %: {bounds[0]:.1f} to {bounds[1]:.1f} kJ/mol, of {len(frames)} held-out frames"
    how = f"{own.minimised} frames above it minimised down to MD's median, then all {_BURST:g} ps of MD"
    where = _outside(own.after, bounds)
    notes = (f"{span}; {_outside(own.before, bounds)}", f"{how}; {where}; reference: {len(control.after)} MD frames")
    labels = ("as decoded", "after relaxation")
    pairs = ((own.before, control.before), (own.after, control.after))
    for label, note, (mine, other) in zip(labels, notes, pairs, strict=True):
        value, reference = (thermodynamics.fraction_inside(e, bounds) for e in (mine, other))
        low, high = binomial_interval(value, len(mine))
        other_low, other_high = binomial_interval(reference, len(other))
        rows.append(
            Metric(f"decoded frames in MD's energy range {label}", "energy", value, SHARE, reference, low=low,
                   high=high, reference_low=other_low, reference_high=other_high, note=note)
        )  # fmt: skip
    return rows


def _outside(energies: Floats, bounds: tuple[float, float]) -> str:
    low, high = np.count_nonzero(energies < bounds[0]), np.count_nonzero(~(energies <= bounds[1]))
    return f"{low} below and {high} above of {len(energies)}"


def _spread(frames: Floats, count: int) -> Floats:
    return np.asarray(frames[np.linspace(0, len(frames) - 1, min(len(frames), count)).astype(int)])


def _head_metrics(propagator: Propagator, context: Any, frames: Floats) -> list[Metric]:
    energies, forces = np.empty(len(frames)), np.empty(np.shape(frames))
    for i, frame in enumerate(frames):
        context.setPositions(np.asarray(frame, dtype=np.float64))
        state = context.getState(energy=True, forces=True)
        energies[i] = state.getPotentialEnergy()._value
        forces[i] = state.getForces(asNumpy=True)._value
    predicted, own = propagator.energy_and_forces(frames)
    offset = float(np.mean(energies - predicted))  # a constant of the energy has no meaning
    r2 = 1 - np.var(energies - predicted) / np.var(energies)
    relative = np.sqrt(np.mean((own - forces) ** 2) / np.mean(forces**2))
    return [
        Metric("energy head R2", "energy", float(r2),
               note=f"{len(frames)} held-out frames; mean offset {offset:.2f} kJ/mol"),
        Metric("force error over force RMS", "energy", float(relative)),
    ]  # fmt: skip


def engine_energies(context: Any, frames: Floats) -> Floats:
    """Potential energies of frames (frames, atoms, 3) nm in an OpenMM Context, kJ/mol."""
    energies = np.empty(len(frames))
    for i, frame in enumerate(frames):
        context.setPositions(np.asarray(frame, dtype=np.float64))
        energies[i] = context.getState(energy=True).getPotentialEnergy()._value
    return energies


def relax(
    context: Any, frames: Floats, highest: float, target: float, temperature: float, timestep: float,
    tick: Tick = silent,
) -> Relaxed:  # fmt: skip
    """Relax structures as before the MD of an alternation: minimise those above MD's range, then move all by MD.

    Args:
        context: OpenMM Context whose integrator is the thermostatted one of the reference.
        frames: nm, (frames, atoms, 3).
        highest: kJ/mol, above which a structure is minimised.
        target: kJ/mol, at which its minimisation stops.
        temperature: kelvin, of the new velocities; they are seeded by the frame's number.
        timestep: ps.
        tick: called with the frames relaxed and their number.
    """
    import openmm

    from latentmd.systems.relaxation import StopBelow

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
            context.setVelocitiesToTemperature(temperature, i + 1)
            context.getIntegrator().step(round(_BURST / timestep))
            after[i] = context.getState(energy=True).getPotentialEnergy()._value
        except openmm.OpenMMException:  # not a number: a structure too strained to be mended
            after[i] = np.inf
    return Relaxed(before, after, minimised)
