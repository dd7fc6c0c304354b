"""Alternation of molecular dynamics and latent steps inside an unmodified `simulation.step(n)`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import openmm
from openmm import app, unit

from latentmd.integrators.openmm_integrator import LatentIntegrator, as_integer, interruptible
from latentmd.integrators.openmm_provider import remembered
from latentmd.systems.parametrise import TEMPERATURE_TOLERANCE
from latentmd.systems.relaxation import SETTLE_STEPS, centre_held, settling_integrator
from latentmd.units import GAS_CONSTANT

MD, LATENT, SETTLING = 0, 1, 2
MAX_FORCE = 1e4  # kJ/mol/nm; thermal forces of a molecule at rest in its bonds stay below about half of it


def relaxed(context: openmm.Context, iterations: int, max_force: float) -> bool:
    """Minimise a Context if an atom feels a force above `max_force`, kJ/mol/nm, velocities constrained; whether it was.

    Forces are those of its integrator's groups; 0 iterations never minimise.
    """
    groups = context.getIntegrator().getIntegrationForceGroups()
    forces = context.getState(forces=True, groups=groups).getForces(asNumpy=True)._value
    needed = bool(iterations and np.max(np.linalg.norm(forces, axis=1)) > max_force)
    if needed:
        openmm.LocalEnergyMinimizer.minimize(context, maxIterations=iterations)
        context.applyConstraints(1e-8)
        context.applyVelocityConstraints(1e-8)
    return needed


class AlternatingIntegrator(openmm.CompoundIntegrator):  # type: ignore[misc]
    """A CompoundIntegrator of MD (index 0), a LatentIntegrator (1) and one that settles; see `alternate`."""

    def __init__(
        self, md_integrator: openmm.Integrator, latent_integrator: LatentIntegrator, settle_steps: int = SETTLE_STEPS
    ) -> None:
        super().__init__()
        if as_integer(settle_steps, "settle_steps") < 0:
            raise ValueError(f"settle_steps is {settle_steps}; expected 0 or more")
        self.settle_steps = settle_steps
        self._md, self._latent = md_integrator, latent_integrator
        self._check_temperature()
        # One Context has one random number generator (on the CPU platform and on GPUs), which refuses a second seed.
        asked = getattr(md_integrator, "getRandomNumberSeed", None)
        seed = asked() if asked else latent_integrator.getRandomNumberSeed() % (2**31 - 2) + 1
        latent_integrator.setOpenMMSeed(seed)
        settling = settling_integrator(md_integrator, latent_integrator.getTemperature(), seed)
        for integrator in (md_integrator, latent_integrator, settling):
            self.addIntegrator(integrator)

    def step(self, steps: int) -> None:
        """Advance by a number of engine steps of the current integrator."""
        self._check_temperature()
        with interruptible(), remembered(self):
            super().step(steps)

    def setStepSize(self, size: unit.Quantity | float) -> None:
        """Refused: the two integrators have step sizes of their own."""
        raise ValueError(
            f"MD and latent steps differ, so {size} has no meaning for both; set the step size of md_integrator or of "
            "latent_integrator"
        )

    def __repr__(self) -> str:
        return f"AlternatingIntegrator({type(self._md).__name__}, {self._latent!r}, settle_steps={self.settle_steps})"

    def _check_temperature(self) -> None:
        expected = self._latent.getTemperature().value_in_unit(unit.kelvin)
        for kelvin in _temperatures(self._md):
            if abs(kelvin - expected) > TEMPERATURE_TOLERANCE:
                raise ValueError(
                    f"the MD integrator is at {kelvin:g} K, the model at {expected:g} K; give the MD {expected:g} K"
                )

    def hand_to_md(self, context: openmm.Context, iterations: int, max_force: float) -> bool:
        """Make MD current after latent steps: minimise the structure if it needs it (`relaxed`, returned); settle it.

        Settling is a short Langevin run of strong friction that counts no time. Velocities drawn for positions at the
        same time are half a step off those of a leapfrog scheme, which stiff bonds feel as heat, and a decoded
        structure is strained; at a friction of 1/ps either would stay for picoseconds. The run keeps the canonical
        distribution (Zhang et al. 2019, doi:10.1021/acs.jpca.9b02771).
        """
        self.setCurrentIntegrator(MD)
        minimised = relaxed(context, iterations, max_force)
        if self.settle_steps:
            now, steps = context.getTime(), context.getStepCount()
            self.getIntegrator(SETTLING).setStepSize(self._md.getStepSize())
            self.setCurrentIntegrator(SETTLING)
            try:
                with centre_held(context):
                    self.step(self.settle_steps)
            finally:
                self.setCurrentIntegrator(MD)
                context.setTime(now)
                context.setStepCount(steps)
        return minimised


class AlternationSchedule:
    """Says which integrator makes which step; add it to `simulation.reporters`, before the other reporters.

    Which one is current follows from the simulation's step count alone, so that a run resumed from a checkpoint or a
    State goes on where it was. After a block of latent steps a structure with a force above `max_force` (kJ/mol/nm) is
    minimised briefly, with the velocities kept on the constraints, and any structure is settled, so that MD can take
    over. `relaxations` counts the structures that were minimised.
    """

    def __init__(self, cycle: tuple[int, int], relax_iterations: int = 50, max_force: float = MAX_FORCE) -> None:
        if not isinstance(cycle, tuple | list) or len(cycle) != 2 or min(as_integer(n, "cycle") for n in cycle) < 1:
            raise ValueError(f"cycle is {cycle}; expected at least one MD step and one latent step, such as (500, 1)")
        self.cycle = (int(cycle[0]), int(cycle[1]))
        self.relax_iterations, self.max_force = relax_iterations, max_force
        self.relaxations, self._warned = 0, False

    def __repr__(self) -> str:
        return f"AlternationSchedule(cycle={self.cycle}, {self.relaxations} structures relaxed)"

    def position(self, step: int) -> tuple[int, int]:
        """Index of the integrator that makes the step after `step` steps, and the steps left for it in this cycle."""
        phase = step % sum(self.cycle)
        return (MD, self.cycle[0] - phase) if phase < self.cycle[0] else (LATENT, sum(self.cycle) - phase)

    def segment(self, step: int) -> str:
        """ "md" or "latent": what made the frame after `step` steps; "start" for none."""
        return ("md", "latent")[self.position(step - 1)[0]] if step > 0 else "start"

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, object]:
        """Make the right integrator current and ask to be called at the next switch."""
        if not self._warned and any(isinstance(r, app.XTCReporter | app.DCDReporter) for r in simulation.reporters):
            self._warned = True
            warnings.warn(
                "OpenMM's XTCReporter and DCDReporter stamp a frame with its step times one step size, which is wrong "
                "for MD and latent steps by turns; latentmd.integrators.TimedXTCReporter writes true times",
                stacklevel=2,
            )
        index, remaining = self.position(simulation.currentStep)
        simulation.integrator.setCurrentIntegrator(index)
        return {"steps": remaining, "periodic": None, "include": []}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Relax the structure of latent steps if it needs it, and switch the integrator."""
        index, _ = self.position(simulation.currentStep)
        if index == MD:
            limits = self.relax_iterations, self.max_force
            self.relaxations += simulation.integrator.hand_to_md(simulation.context, *limits)
        else:
            simulation.integrator.setCurrentIntegrator(LATENT)


def alternate(
    md_integrator: openmm.Integrator,
    latent_integrator: LatentIntegrator,
    cycle: tuple[int, int] = (500, 1),
    *,
    settle_steps: int = SETTLE_STEPS,
    **options: Any,
) -> tuple[AlternatingIntegrator, AlternationSchedule]:
    """Molecular dynamics and latent steps by turns.

    Args:
        md_integrator: any OpenMM integrator; the latent force is taken out of its force groups.
        latent_integrator: made on the same System.
        cycle: MD steps and latent steps of one cycle, which starts with MD.
        settle_steps: Langevin steps of strong friction after latent steps, at the MD's time step; 0 for none.
        **options: `relax_iterations` and `max_force` of AlternationSchedule.

    Returns:
        The integrator for the Simulation, and the schedule to add to `simulation.reporters`.

    Raises:
        TypeError: the integrators are exchanged, or are none.
        ValueError: a cycle without MD or without latent steps, or MD at another temperature than the model's; a
            temperature that is changed later is refused by the next step.
    """
    if not isinstance(md_integrator, openmm.Integrator) or isinstance(md_integrator, LatentIntegrator):
        raise TypeError(f"md_integrator is a {type(md_integrator).__name__}; expected an OpenMM integrator of MD")
    if not isinstance(latent_integrator, LatentIntegrator):
        raise TypeError(f"latent_integrator is a {type(latent_integrator).__name__}; expected a LatentIntegrator")
    schedule = AlternationSchedule(cycle, **options)
    groups = md_integrator.getIntegrationForceGroups()
    kept = {group for group in range(32) if groups >> group & 1} if isinstance(groups, int) else set(groups)
    md_integrator.setIntegrationForceGroups(kept - latent_integrator.getForceGroups())
    return AlternatingIntegrator(md_integrator, latent_integrator, settle_steps), schedule


def _temperatures(integrator: openmm.Integrator) -> list[float]:
    """Temperatures in K that an integrator keeps, of whatever kind it is; none of one without a thermostat."""
    if isinstance(integrator, openmm.NoseHooverIntegrator):
        kept = [integrator.getTemperature(i) for i in range(integrator.getNumThermostats())]
    elif hasattr(integrator, "getTemperature"):
        kept = [integrator.getTemperature()]
    elif isinstance(integrator, openmm.CustomIntegrator):  # OpenMM's own and openmmtools' have their kT in a variable
        names = [integrator.getGlobalVariableName(i) for i in range(integrator.getNumGlobalVariables())]
        kept = [integrator.getGlobalVariableByName("kT") / GAS_CONSTANT] if "kT" in names else []
    else:
        kept = []
    return [float(t.value_in_unit(unit.kelvin) if unit.is_quantity(t) else t) for t in kept]
