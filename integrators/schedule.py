"""Alternation of molecular dynamics and latent steps inside an unmodified `simulation.step(n)`."""

from __future__ import annotations

from typing import Any

import openmm

from latentmd.integrators.openmm_integrator import LatentIntegrator, interruptible
from latentmd.integrators.relaxation import MAX_FORCE, Relaxation
from latentmd.systems.relaxation import SETTLE_STEPS, centre_held, settling_integrator

MD, LATENT, SETTLING = 0, 1, 2
SEGMENTS = ("md", "latent")


class AlternatingIntegrator(openmm.CompoundIntegrator):  # type: ignore[misc]
    """A CompoundIntegrator of an MD integrator (index 0), a LatentIntegrator (1) and one that settles; see `alternate`.

    Args:
        md_integrator: of the MD.
        latent_integrator: of the latent steps.
        settle_steps: Langevin steps of `settle`; 0 for none.
    """

    def __init__(
        self, md_integrator: openmm.Integrator, latent_integrator: LatentIntegrator, settle_steps: int = SETTLE_STEPS
    ) -> None:
        super().__init__()
        self.settle_steps = settle_steps
        # One Context of the CPU platform has one random number generator, which refuses a second seed.
        asked = getattr(md_integrator, "getRandomNumberSeed", None)
        seed = latent_integrator.getRandomNumberSeed() % (2**31 - 2) + 1 if asked is None else asked()
        settling = settling_integrator(md_integrator, latent_integrator.getTemperature(), seed)
        for integrator in (md_integrator, latent_integrator, settling):
            self.addIntegrator(integrator)

    def step(self, steps: int) -> None:
        """Advance by a number of engine steps of the current integrator."""
        with interruptible():
            super().step(steps)

    def hand_to_md(self, context: openmm.Context, relaxation: Relaxation) -> bool:
        """Make MD current after latent steps: minimise the structure if it needs it, and settle it.

        Args:
            context: of this integrator.
            relaxation: says which structures are minimised.

        Returns:
            Whether it was minimised.
        """
        self.setCurrentIntegrator(MD)
        minimised = relaxation.minimise(context)
        self.settle(context)
        return minimised

    def settle(self, context: openmm.Context) -> None:
        """Thermalise the structure of a latent step by a short Langevin run of strong friction that counts no time.

        Velocities drawn for positions at the same time are half a step off those of a leapfrog scheme, which stiff
        bonds feel as heat, and a decoded structure is strained; at a friction of 1/ps either would stay for
        picoseconds. The run keeps the canonical distribution (Zhang et al. 2019, doi:10.1021/acs.jpca.9b02771).
        """
        if not self.settle_steps:
            return
        now, steps, current = context.getTime(), context.getStepCount(), self.getCurrentIntegrator()
        self.getIntegrator(SETTLING).setStepSize(self.getIntegrator(MD).getStepSize())
        self.setCurrentIntegrator(SETTLING)
        try:
            with centre_held(context):
                self.step(self.settle_steps)
        finally:
            self.setCurrentIntegrator(current)
            context.setTime(now)
            context.setStepCount(steps)


class AlternationSchedule:
    """Says which integrator makes which step; add it to `simulation.reporters`, before the other reporters.

    Which one is current follows from the simulation's step count alone, so that a run resumed from a checkpoint or a
    State goes on where it was. After a block of latent steps a structure with a force above `max_force` is minimised
    briefly, with the velocities kept on the constraints, and any structure is settled, so that MD can take over.

    Args:
        cycle: MD steps and latent steps of one cycle, which starts with MD.
        relax_iterations: most minimiser iterations after latent steps; 0 never minimises.
        max_force: kJ/mol/nm, above which they are made.

    Attributes:
        relaxations: how often a structure was minimised.
    """

    def __init__(self, cycle: tuple[int, int], relax_iterations: int = 50, max_force: float = MAX_FORCE) -> None:
        md_steps, latent_steps = cycle
        if md_steps < 1 or latent_steps < 1:
            raise ValueError(f"cycle is {cycle}; expected at least one MD step and one latent step, such as (500, 1)")
        self.cycle = (int(md_steps), int(latent_steps))
        self.relax_iterations = relax_iterations
        self.max_force = max_force
        self.relaxations = 0

    def position(self, step: int) -> tuple[int, int]:
        """Index of the integrator that makes the step after `step` steps, and the steps left for it in this cycle."""
        phase = step % sum(self.cycle)
        return (MD, self.cycle[0] - phase) if phase < self.cycle[0] else (LATENT, sum(self.cycle) - phase)

    def segment(self, step: int) -> str:
        """ "md" or "latent": what made the frame after `step` steps; "start" for none."""
        return SEGMENTS[self.position(step - 1)[0]] if step > 0 else "start"

    def describeNextReport(self, simulation: Any) -> dict[str, Any]:
        """Make the right integrator current and ask to be called at the next switch."""
        index, remaining = self.position(simulation.currentStep)
        simulation.integrator.setCurrentIntegrator(index)
        return {"steps": remaining, "periodic": None, "include": []}

    def report(self, simulation: Any, state: Any) -> None:
        """Relax the structure of latent steps if it needs it, and switch the integrator."""
        index, _ = self.position(simulation.currentStep)
        if index == MD:
            self.relaxations += simulation.integrator.hand_to_md(
                simulation.context, Relaxation(self.relax_iterations, self.max_force)
            )
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
        ValueError: a cycle without MD or without latent steps.
    """
    schedule = AlternationSchedule(cycle, **options)
    groups = _group_set(md_integrator.getIntegrationForceGroups()) - latent_integrator.getForceGroups()
    md_integrator.setIntegrationForceGroups(groups)
    return AlternatingIntegrator(md_integrator, latent_integrator, settle_steps), schedule


def _group_set(groups: Any) -> set[int]:
    return {group for group in range(32) if groups >> group & 1} if isinstance(groups, int) else set(groups)
