"""LatentIntegrator: latent steps of a bundled model as an OpenMM integrator."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from operator import index
from pathlib import Path
from typing import Any, Literal, SupportsIndex

import openmm
from openmm import app, unit

from latentmd.integrators import openmm_provider as keys
from latentmd.integrators.openmm_provider import LatentProvider, remembered
from latentmd.integrators.openmm_seat import Seat, seat_of
from latentmd.integrators.openmm_selection import manifest_for, select
from latentmd.model.file import Bundle, Manifest
from latentmd.model.manifest import split_time
from latentmd.systems.agreement import disagreeing_term
from latentmd.systems.parametrise import TEMPERATURE_TOLERANCE, thermostat_fault
from latentmd.units import GAS_CONSTANT


class LatentIntegrator(openmm.CustomIntegrator):  # type: ignore[misc]
    """Moves a molecule by latent steps of a model; an OpenMM integrator like any other.

    One engine step advances the model's atoms by `stepSize` (one or more latent steps, decoded once), puts them on
    the System's constraints, keeps their centre of mass where it was and redraws their velocities from the
    Maxwell–Boltzmann distribution. Other atoms stay as they are. Make it before the Context: it adds a force,
    of a group of its own, through which the proposals arrive. That force is zero except within a step of this
    integrator, so energies and forces asked for elsewhere are those of the other forces.

    Jumps are always accepted: the ensemble is the model's. Alternate with MD (`latentmd.integrators.alternate`) to
    relax it.

    Noise is a function of the seed, the stream, the number of latent steps made in the Context, the positions and the
    Context's other parameters, all of which checkpoints and States store: a run resumed from one repeats the
    uninterrupted run, and replicas whose States are swapped in one Context stay apart. A State that was stepped in a
    Context before draws anew there, as with OpenMM's own thermostats; a checkpoint repeats. Unlike elsewhere in
    OpenMM, seed 0 is a seed like any other.

    A failure leaves positions, velocities, time and step count as they were, raises `OpenMMException` with the
    cause in its text, and the next step works. Ctrl-C raises KeyboardInterrupt.

    Args:
        temperature: of the velocities; must be the model's. Quantity or K.
        model: name or path of a bundle, or a loaded `Bundle`; "peptides" is bound to the molecule at the first step.
        stepSize: a multiple of a lag the model covers; the model's longest lag where None. Quantity or ps.
        system: the System, to which a force is added, unless an earlier integrator's can serve this one too. Force
            groups are given before: changed later, they are refused by the next step.
        topology: its openmm.app Topology.
        seed: of the noise.
        atoms: indices of the model's atoms, in any order; None where the System is the model's molecule alone.
        provider: "python" (PythonForce) or "torchforce" (needs the openmm-torch plug-in).
        device: where the model runs: "auto", "cpu" or "cuda".

    Raises:
        BundleError: the model cannot be loaded.
        TypeError: an argument of another type.
        ValueError: the molecule, force field, temperature or step size is not the model's, or the System has a
            thermostat.
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
        """Make the integrator, and add its force to the System; the arguments are those of the class."""
        for name, value, types, what in (
            ("model", model, str | Path | Bundle, "a name or path of a model, or a Bundle"),
            ("system", system, openmm.System, "an openmm.System"),
            ("topology", topology, app.Topology, "an openmm.app.Topology"),
        ):
            if not isinstance(value, types):
                raise TypeError(f"{name} is a {type(value).__name__}; expected {what}")
        if fault := thermostat_fault(system):
            raise ValueError(fault)
        source = model.path if isinstance(model, Bundle) else model
        manifest, molecule = manifest_for(source, topology, atoms)
        if not manifest.of_force_field:
            raise ValueError(
                f"{manifest.called} is of a solute in explicit solvent, or in a force field that is not known: a latent"
                " step would put the solute through its water. `latentmd simulate MODEL.pt` rolls it out alone, and"
                " `TorsionJumps` turns torsions in water (examples/19_explicit_solvent.py)"
            )
        kelvin = as_number(temperature, unit.kelvin, "temperature")
        _check_temperature(kelvin, manifest.temperature)
        step = manifest.lag[1] if stepSize is None else as_number(stepSize, unit.picosecond, "stepSize")
        split_time(step, manifest.lag)
        selection = replace(select(system, topology, manifest, atoms), molecule=molecule)
        if why := disagreeing_term(system, selection.atoms, manifest):
            raise ValueError(f"{why}: a model holds in its own force field only")
        seat = seat_of(system, provider, source, selection, device)

        super().__init__(step)
        self.provider = seat.provider
        self._add_variables(kelvin, manifest, seed, seat)
        self._add_steps(seat, subset=len(selection.atoms) < selection.n_particles)
        self.setIntegrationForceGroups(set(range(32)) - self.getForceGroups())

    def __repr__(self) -> str:
        step, lags = self.getStepSize().value_in_unit(unit.picosecond), self._lags()
        where = f"seed {self.getRandomNumberSeed()}, stream {self.getStream()}, force group {self.getForceGroup()}"
        times = f"step {step:g} ps, lags {lags[0]:g} to {lags[1]:g} ps"
        return f"LatentIntegrator({self.getTemperature().value_in_unit(unit.kelvin):g} K, {times}, {where})"

    def _add_variables(self, kelvin: float, manifest: Manifest, seed: int, seat: Seat) -> None:
        """Everything the object knows is a global variable, so that copies, XML and checkpoints keep it."""
        values = {"kT": kelvin * GAS_CONSTANT, "seed": 0, "stream": 0, "answer": 0, "group": seat.group}
        values |= {"failureGroup": seat.failure_group, "modelTemperature": manifest.temperature}
        values |= {"shortestLag": manifest.lag[0], "longestLag": manifest.lag[1]}
        for name, value in values.items():
            self.addGlobalVariable(name, value)
        for name in ("displacement", "velocity", "selected"):
            self.addPerDofVariable(name, 0)
        self.setRandomNumberSeed(seed)

    def _add_steps(self, seat: Seat, subset: bool) -> None:
        reading = f"f{seat.group}"
        for parameter, expression in ((keys.KT, "kT"), (keys.TIME, "dt"), (keys.SEED, "seed"), (keys.STREAM, "stream")):
            self.addComputeGlobal(parameter, expression)
        if seat.failure_group == seat.group:  # TorchForce cannot tell visits apart
            self.addComputeGlobal(keys.WORD, "uniform")
        # Everything that can fail comes before anything is changed; reading the force before the energy costs one call.
        self.addComputeGlobal(keys.MODE, str(keys.POSITIONS))
        self.addComputePerDof("displacement", reading)
        self.addComputeGlobal("answer", f"energy{seat.group}")
        self.addComputeGlobal(keys.MODE, str(keys.VELOCITIES))
        self.addComputePerDof("velocity", reading)
        if subset:
            self.addComputeGlobal(keys.MODE, str(keys.SELECTION))
            self.addComputePerDof("selected", reading)
        self.addComputeGlobal(keys.MODE, "0")
        self.beginIfBlock(f"answer != {keys.ANSWERED}")
        self._add_failure(seat)
        self.endBlock()
        self.addComputePerDof("x", "x+displacement")
        self.addComputePerDof("v", "select(selected, velocity, v)" if subset else "velocity")
        self.addComputeGlobal(keys.COUNT, f"{keys.COUNT}+1")
        self.addUpdateContextState()  # last, not first: a step that fails has moved no barostat and no velocity

    def _add_failure(self, seat: Seat) -> None:
        """Steps of which one raises: the failure's own text where the force told it, else that the force is lost."""
        reading, gate = f"f{seat.failure_group}", keys.MODE
        if seat.failure_group != seat.group:
            gate = keys.FAILURE
            self.addComputeGlobal(gate, "answer")
            self.addComputePerDof("displacement", reading)
            self.addComputeGlobal(gate, "0")
        self.addComputePerDof("displacement", reading)  # raises, with the gate closed
        # Still here: the forces have other groups than when this was made; "energy" is that of all the others.
        for value in (keys.LOST, 0):
            self.addComputeGlobal(gate, str(value))
            self.addComputePerDof("displacement", reading)
            self.addComputeGlobal("answer", "energy")

    def step(self, steps: int) -> None:
        """Advance by a number of engine steps."""
        with interruptible(), remembered(self):
            super().step(steps)

    def getTemperature(self) -> unit.Quantity:
        """Temperature of the velocities."""
        return self.getGlobalVariableByName("kT") / GAS_CONSTANT * unit.kelvin

    def setTemperature(self, temperature: unit.Quantity | float) -> None:
        """Set the temperature of the velocities; only the model's is accepted."""
        kelvin = as_number(temperature, unit.kelvin, "temperature")
        if expected := self.getGlobalVariableByName("modelTemperature"):  # as in setStepSize
            _check_temperature(kelvin, expected)
        self.setGlobalVariableByName("kT", kelvin * GAS_CONSTANT)

    def setStepSize(self, size: unit.Quantity | float, context: openmm.Context | None = None) -> None:
        """Set the time of an engine step, a Quantity or ps; a multiple of a lag the model covers.

        On its Reference and CPU platforms, OpenMM goes on to count a Context's time by the step size with which it
        began, whatever a CustomIntegrator's is now; so a Context that is there must start again from its own state, and
        is to be passed.
        """
        picoseconds, lags = as_number(size, unit.picosecond, "step size"), self._lags()
        if lags[1]:  # openmmtools clears all variables of a copy, to tell integrators of one kind
            split_time(picoseconds, lags)
        if picoseconds == self.getStepSize().value_in_unit(unit.picosecond):
            return
        if context is None and self._bound():
            raise ValueError(
                "a Context counts time by the step size that it began with; set another with "
                f"setStepSize({picoseconds:g}, context), which starts the Context again from its own state"
            )
        super().setStepSize(picoseconds)
        if context is not None:
            context.reinitialize(preserveState=True)

    def _bound(self) -> bool:
        """Whether a Context has been made with this integrator."""
        try:
            super().step(0)
        except openmm.OpenMMException:
            return False
        return True

    def getRandomNumberSeed(self) -> int:
        """Seed of the noise."""
        return int(self.getGlobalVariableByName("seed"))

    def setRandomNumberSeed(self, seed: int) -> None:
        """Set the seed of the noise, 0 to 2^31 - 1; it takes effect at the next step."""
        number = as_integer(seed, "seed")
        if not 0 <= number < 2**31:
            raise ValueError(f"seed is {seed}; expected 0 to {2**31 - 1}")
        self.setGlobalVariableByName("seed", number)
        self.setOpenMMSeed(number % (2**31 - 2) + 1)

    def setOpenMMSeed(self, seed: int) -> None:
        """Set the seed of OpenMM's own random numbers (0: a fresh one); they decide no noise, see `Visits`."""
        super().setRandomNumberSeed(seed)

    def getStream(self) -> int:
        """Number of the replica."""
        return int(self.getGlobalVariableByName("stream"))

    def setStream(self, stream: int) -> None:
        """Set the number of the replica: replicas of one seed need different streams."""
        self.setGlobalVariableByName("stream", as_integer(stream, "stream"))

    def getForceGroup(self) -> int:
        """Group of the latent force."""
        return int(self.getGlobalVariableByName("group"))

    def getForceGroups(self) -> set[int]:
        """Groups that other integrators of the System must leave out: the latent force, and its failures' if any."""
        return {self.getForceGroup(), int(self.getGlobalVariableByName("failureGroup"))}

    def _lags(self) -> tuple[float, float]:
        return self.getGlobalVariableByName("shortestLag"), self.getGlobalVariableByName("longestLag")


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


def as_integer(value: SupportsIndex, name: str) -> int:
    """An integer of any type, or a TypeError that names the argument."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name} is {value!r}; expected an integer") from None


def as_number(quantity: Any, unit_: unit.Unit, name: str) -> float:
    """A number, or a Quantity in a unit, or a TypeError that names the argument."""
    try:
        return float(quantity.value_in_unit(unit_) if unit.is_quantity(quantity) else quantity)
    except (TypeError, ValueError):
        raise TypeError(f"{name} is {quantity!r}; expected a number of {unit_.get_name()}s or a Quantity") from None


def _check_temperature(kelvin: float, expected: float) -> None:
    if not abs(kelvin - expected) <= TEMPERATURE_TOLERANCE:
        raise ValueError(
            f"temperature is {kelvin:g} K, the model was trained at {expected:g} K and knows no other; "
            f"use {expected:g} K, or train a model at {kelvin:g} K"
        )
