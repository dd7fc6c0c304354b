"""LatentReporter: a log of runs with latent steps, with true times."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any, TextIO

from openmm import unit

from latentmd.integrators.openmm_integrator import LatentIntegrator
from latentmd.integrators.openmm_provider import COUNT
from latentmd.integrators.schedule import AlternationSchedule

COLUMNS = ("step", "time_ps", "segment", "potential_kJ_mol", "latent_steps", "draws", "failed_checks")


class LatentReporter:
    """Writes a CSV line per report: step, true time, segment, potential energy, latent steps, draws, failed checks.

    OpenMM's DCD and XTC reporters stamp frames with step × the first step size, which is wrong once steps of different
    lengths mix; the times here are the Context's. `latent_steps` counts since the start, `draws` the structures
    decoded for them in this process: more draws than steps means that some were turned down (TorchForce does not
    count them). `failed_checks` names the structure checks that the
    model's atoms fail (finite, bonds, angles, chirality, clashes), separated by spaces.

    Args:
        file: path, or an open text file.
        reportInterval: steps between lines.
        integrator: the LatentIntegrator of the run.
        schedule: from `alternate`; None where all steps are latent.
    """

    def __init__(
        self,
        file: str | Path | TextIO,
        reportInterval: int,
        integrator: LatentIntegrator,
        schedule: AlternationSchedule | None = None,
    ) -> None:
        if integrator.provider is None:
            raise ValueError("this LatentIntegrator was unpickled or came from XML; pass the one made with the System")
        self._provider = integrator.provider
        self._interval = reportInterval
        self._schedule = schedule
        self._own = isinstance(file, str | Path)
        self._file: TextIO = open(file, "w", newline="") if isinstance(file, str | Path) else file
        self._writer = csv.writer(self._file)
        self._writer.writerow(COLUMNS)
        self._file.flush()

    def describeNextReport(self, simulation: Any) -> dict[str, Any]:
        """Steps to the next line, and what it needs."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": False, "include": ["positions", "energy"]}

    def report(self, simulation: Any, state: Any) -> None:
        """Write a line."""
        provider, step = self._provider, simulation.currentStep
        positions = provider.selected_positions(state)
        checks = provider.propagator.checks(positions[None])
        latent_steps = int(state.getParameters()[COUNT])
        self._writer.writerow(
            (
                step,
                f"{state.getTime().value_in_unit(unit.picosecond):.6f}",
                self._schedule.segment(step) if self._schedule else "latent",
                f"{state.getPotentialEnergy().value_in_unit(unit.kilojoule_per_mole):.6f}",
                latent_steps,
                provider.draws if provider.steps or not latent_steps else "",
                " ".join(name for name, passed in checks.items() if not passed[0]),
            )
        )
        self._file.flush()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._own:
            self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()
