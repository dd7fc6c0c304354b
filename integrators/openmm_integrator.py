"""LatentIntegrator: latent steps of a bundled model as an OpenMM integrator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import openmm
from openmm import app, unit

from latentmd.integrators.openmm_provider import (
    COUNT,
    FAILURE,
    KT,
    MODE,
    PARAMETERS,
    POSITIONS,
    SEED,
    SELECTION,
    STREAM,
    TIME,
    VELOCITIES,
    LatentProvider,
)
from latentmd.integrators.openmm_selection import Selection, select
from latentmd.model.file import Bundle, Manifest, read_manifest
from latentmd.model.propagator import split_time
from latentmd.units import GAS_CONSTANT

FORCE_NAME = "LatentProposal"
_TEMPERATURE_TOLERANCE = 0.01  # K


class LatentIntegrator(openmm.CustomIntegrator):  # type: ignore[misc]
    """Moves a molecule by latent steps of a model; an OpenMM integrator like any other.

    One engine step advances the model's atoms by `stepSize` (one or more latent steps, decoded once), puts them on
    the System's constraints, keeps their centre of mass where it was and redraws their velocities from the
    Maxwell–Boltzmann distribution. Other atoms stay as they are. Make it before the Context: it adds a force,
    of a group of its own, through which the proposals arrive. That force is zero except within a step of this
    integrator, so energies and forces asked for elsewhere are those of the other forces.

    Jumps are always accepted: the ensemble is the model's. Alternate with MD (`latentmd.integrators.alternate`) to
    relax it.

    Noise is a function of the seed, the stream and the number of latent steps made in the Context, which checkpoints
    and States store: a run resumed from one repeats the uninterrupted run. Unlike elsewhere in OpenMM, seed 0 is a
    seed like any other.

    A failure leaves positions, velocities, time and step count as they were, raises `OpenMMException` with the
    cause in its text, and the next step works. Ctrl-C raises KeyboardInterrupt.

    Args:
        temperature: of the velocities; must be the model's. Quantity or K.
        model: name or path of a bundle, or a loaded `Bundle`.
        stepSize: a multiple of a lag the model covers; the model's longest lag where None. Quantity or ps.
        system: the System, to which a force is added.
        topology: its openmm.app Topology.
        seed: of the noise.
        atoms: indices of the model's atoms, in its order; None where the System is the model's molecule alone.
        provider: "python" (PythonForce) or "torchforce" (needs the openmm-torch plug-in).
        device: where the model runs: "auto", "cpu" or "cuda".

    Raises:
        BundleError: the model cannot be loaded.
        ValueError: the molecule, temperature or step size is not the model's.
    """

    #: What answers for the model; None in an integrator that came from XML or a pickle.
    provider: LatentProvider | None = None

    def __init__(
        self,
        temperature: unit.Quantity | float,
        model: str | Path | Bundle,
        stepSize: unit.Quantity | float | None = None,
        *,
        system: openmm.System,
        topology: app.Topology,
        seed: int = 0,
        atoms: Sequence[int] | None = None,
        provider: Literal["python", "torchforce"] = "python",
        device: str = "auto",
    ) -> None:
        source = model.path if isinstance(model, Bundle) else model
        manifest = read_manifest(source)
        kelvin = _value(temperature, unit.kelvin)
        _check_temperature(kelvin, manifest.temperature)
        step = manifest.lag[1] if stepSize is None else _value(stepSize, unit.picosecond)
        split_time(step, manifest.lag)
        if any(force.getName() == FORCE_NAME for force in system.getForces()):
            raise ValueError(
                "the System already has a latent force; make one LatentIntegrator per System, or copy the System first"
            )
        selection = select(system, topology, manifest, atoms)
        latent, force = _provider_and_force(provider, source, selection, device)
        group = failure_group = _add_force(system, force, FORCE_NAME)
        if provider == "torchforce":
            from latentmd.integrators.torchforce_provider import failure_force

            failure_group = _add_force(system, failure_force(selection), f"{FORCE_NAME}Failure")

        super().__init__(step)
        self.provider = latent
        self._add_variables(kelvin, manifest, seed, group, failure_group)
        self._add_steps(group, failure_group, subset=len(selection.atoms) < selection.n_particles)
        self.setIntegrationForceGroups(set(range(32)) - self.getForceGroups())

    def _add_variables(self, kelvin: float, manifest: Manifest, seed: int, group: int, failure_group: int) -> None:
        """Everything the object knows is a global variable, so that copies, XML and checkpoints keep it."""
        self.addGlobalVariable("kT", kelvin * GAS_CONSTANT)
        self.addGlobalVariable("seed", 0)
        self.addGlobalVariable("stream", 0)
        self.addGlobalVariable("failed", 0)
        self.addGlobalVariable("group", group)
        self.addGlobalVariable("failureGroup", failure_group)
        self.addGlobalVariable("modelTemperature", manifest.temperature)
        self.addGlobalVariable("shortestLag", manifest.lag[0])
        self.addGlobalVariable("longestLag", manifest.lag[1])
        for name in ("displacement", "velocity", "selected"):
            self.addPerDofVariable(name, 0)
        self.setRandomNumberSeed(seed)

    def _add_steps(self, group: int, failure_group: int, subset: bool) -> None:
        for parameter, expression in ((KT, "kT"), (TIME, "dt"), (SEED, "seed"), (STREAM, "stream")):
            self.addComputeGlobal(parameter, expression)
        # Everything that can fail comes before anything is changed; reading the force before the energy costs one call.
        self.addComputeGlobal(MODE, str(POSITIONS))
        self.addComputePerDof("displacement", f"f{group}")
        self.addComputeGlobal("failed", f"energy{group}")
        self.addComputeGlobal(MODE, str(VELOCITIES))
        self.addComputePerDof("velocity", f"f{group}")
        if subset:
            self.addComputeGlobal(MODE, str(SELECTION))
            self.addComputePerDof("selected", f"f{group}")
        self.addComputeGlobal(MODE, "0")
        self.beginIfBlock("failed > 0")
        if failure_group != group:
            self.addComputeGlobal(FAILURE, "failed")
            self.addComputePerDof("displacement", f"f{failure_group}")
            self.addComputeGlobal(FAILURE, "0")
        self.addComputePerDof("displacement", f"f{failure_group}")  # raises, with the gate closed
        self.endBlock()
        self.addComputePerDof("x", "x+displacement")
        self.addComputePerDof("v", "select(selected, velocity, v)" if subset else "velocity")
        self.addComputeGlobal(COUNT, f"{COUNT}+1")
        self.addUpdateContextState()  # last, not first: a step that fails has moved no barostat and no velocity

    def step(self, steps: int) -> None:
        """Advance by a number of engine steps."""
        with interruptible():
            super().step(steps)

    def getTemperature(self) -> unit.Quantity:
        """Temperature of the velocities."""
        return self.getGlobalVariableByName("kT") / GAS_CONSTANT * unit.kelvin

    def setTemperature(self, temperature: unit.Quantity | float) -> None:
        """Set the temperature of the velocities; only the model's is accepted."""
        kelvin = _value(temperature, unit.kelvin)
        _check_temperature(kelvin, self.getGlobalVariableByName("modelTemperature"))
        self.setGlobalVariableByName("kT", kelvin * GAS_CONSTANT)

    def setStepSize(self, size: unit.Quantity | float) -> None:
        """Set the time of an engine step; a multiple of a lag the model covers."""
        picoseconds = _value(size, unit.picosecond)
        lags = self.getGlobalVariableByName("shortestLag"), self.getGlobalVariableByName("longestLag")
        split_time(picoseconds, lags)
        super().setStepSize(picoseconds)

    def getRandomNumberSeed(self) -> int:
        """Seed of the noise."""
        return int(self.getGlobalVariableByName("seed"))

    def setRandomNumberSeed(self, seed: int) -> None:
        """Set the seed of the noise, 0 to 2^31 - 1; it takes effect at the next step."""
        if not 0 <= seed < 2**31:
            raise ValueError(f"seed is {seed}; expected 0 to {2**31 - 1}")
        self.setGlobalVariableByName("seed", seed)

    def getStream(self) -> int:
        """Number of the replica."""
        return int(self.getGlobalVariableByName("stream"))

    def setStream(self, stream: int) -> None:
        """Set the number of the replica: replicas of one seed need different streams."""
        self.setGlobalVariableByName("stream", stream)

    def getForceGroup(self) -> int:
        """Group of the latent force."""
        return int(self.getGlobalVariableByName("group"))

    def getForceGroups(self) -> set[int]:
        """Groups that other integrators of the System must leave out: the latent force, and its failures' if any."""
        return {self.getForceGroup(), int(self.getGlobalVariableByName("failureGroup"))}


@contextmanager
def interruptible() -> Iterator[None]:
    """Raise the KeyboardInterrupt that OpenMM has turned into an error of its own inside a callback."""
    try:
        yield
    except openmm.OpenMMException as error:
        text = str(error)
        if "KeyboardInterrupt" in text or text == "<NULL>":
            raise KeyboardInterrupt from None
        raise


def _provider_and_force(
    kind: str, source: str | Path, selection: Selection, device: str
) -> tuple[LatentProvider, openmm.Force]:
    if kind == "torchforce":
        from latentmd.integrators.torchforce_provider import torch_force

        latent, force = torch_force(source, selection)
        return latent, force
    if kind != "python":
        raise ValueError(f"provider is {kind!r}; expected 'python' or 'torchforce'")
    provider = LatentProvider(source, selection, device)
    force = openmm.PythonForce(provider, dict.fromkeys(PARAMETERS, 0.0))
    if len(selection.atoms) < selection.n_particles:
        force.setParticles(list(selection.atoms))
    force.setUsesPeriodicBoundaryConditions(selection.periodic)
    return provider, force


def _add_force(system: openmm.System, force: openmm.Force, name: str) -> int:
    """Add a force in the highest free group; returns the group."""
    used = {force.getForceGroup() for force in system.getForces()}
    free = [group for group in range(31, -1, -1) if group not in used]
    if not free:
        raise ValueError("all 32 force groups of the System are in use; free one for the latent force")
    force.setForceGroup(free[0])
    force.setName(name)
    system.addForce(force)
    return free[0]


def _value(quantity: Any, unit_: unit.Unit) -> float:
    return float(quantity.value_in_unit(unit_) if unit.is_quantity(quantity) else quantity)


def _check_temperature(kelvin: float, expected: float) -> None:
    if abs(kelvin - expected) > _TEMPERATURE_TOLERANCE:
        raise ValueError(
            f"temperature is {kelvin:g} K, the model was trained at {expected:g} K and knows no other; "
            f"use {expected:g} K, or train a model at {kelvin:g} K"
        )
