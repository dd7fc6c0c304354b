"""Reporters of runs with latent steps, with true times: a log, and a trajectory."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import numpy as np
import openmm
from mdtraj.formats import XTCTrajectoryFile
from openmm import app, unit

from latentmd.integrators.openmm_integrator import LatentIntegrator, as_integer
from latentmd.integrators.openmm_provider import COUNT
from latentmd.integrators.schedule import AlternationSchedule
from latentmd.io.writer import FrameWriter

COLUMNS = ("step", "time_ps", "segment", "potential_kJ_mol", "latent_steps", "draws", "failed_checks")


class LatentReporter:
    """Writes a CSV line per report: step, true time, segment, potential energy, latent steps, draws, failed checks.

    OpenMM's DCD and XTC reporters stamp frames with step × the first step size, which is wrong once steps of different
    lengths mix; the times here are the Context's. `latent_steps` counts since the start. `draws` are the structures
    decoded for them in this process, by all integrators that share the System's latent force: more draws than steps
    means that some were turned down (TorchForce does not count them). `failed_checks` names the structure checks that
    the model's atoms fail (see `latentmd.molecule.checks.check_frames`), separated by spaces.

    Args:
        file: path, or an open text file.
        reportInterval: steps between lines.
        integrator: the LatentIntegrator of the run.
        schedule: from `alternate`; None where all steps are latent.
        append: keep the lines of a file that is there, and go on after them.

    Raises:
        TypeError: an argument of another type.
        ValueError: reportInterval is below 1, or the integrator is a copy.
    """

    def __init__(
        self,
        file: str | Path | TextIO,
        reportInterval: int,
        integrator: LatentIntegrator,
        schedule: AlternationSchedule | None = None,
        append: bool = False,
    ) -> None:
        if not isinstance(integrator, LatentIntegrator):
            raise TypeError(f"integrator is a {type(integrator).__name__}; expected the LatentIntegrator of the run")
        if integrator.provider is None:
            raise ValueError("this LatentIntegrator was unpickled or came from XML; pass the one made with the System")
        self._provider = integrator.provider
        self._interval = _interval(reportInterval)
        self._schedule = schedule
        self._own = isinstance(file, str | Path)
        self._file: TextIO = open(file, "a" if append else "w", newline="") if isinstance(file, str | Path) else file
        self._writer = csv.writer(self._file)
        if not (append and self._file.tell()):
            self._writer.writerow(COLUMNS)
        self._file.flush()

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, object]:
        """Steps to the next line, and what it needs."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": False, "include": ["positions", "energy"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a line."""
        provider, step, positions = self._provider, simulation.currentStep, self._provider.selected_positions(state)
        checks = provider.model(positions)[0].checks(positions[None])
        failed = (name for name, passed in checks.items() if not passed[0])
        segment = self._schedule.segment(step) if self._schedule else "latent"
        time, energy = (f"{quantity._value:.6f}" for quantity in (state.getTime(), state.getPotentialEnergy()))
        latent_steps = int(state.getParameters()[COUNT])
        draws = provider.draws if provider.steps or not latent_steps else ""
        self._writer.writerow((step, time, segment, energy, latent_steps, draws, " ".join(failed)))
        self._file.flush()

    def close(self) -> None:
        """Close the file, if it was opened here."""
        if self._own:
            self._file.close()

    def __repr__(self) -> str:
        return f"LatentReporter({self._file.name if self._own else self._file!r}, every {self._interval} steps)"

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self.close()


class TimedXTCReporter:
    """Writes an XTC trajectory with the Context's times and boxes; in place of OpenMM's XTCReporter.

    The file on disk always ends with a whole frame. A file that is there is replaced.

    Args:
        file: path.
        reportInterval: steps between frames.
        append: keep the frames of a file that is there, and go on after them.
        enforcePeriodicBox: whether molecules are put into the box; None where the System is periodic.
        atomSubset: indices of the atoms to write; all where None.

    Raises:
        TypeError: reportInterval is no integer.
        ValueError: reportInterval is below 1.
    """

    def __init__(
        self,
        file: str | Path,
        reportInterval: int,
        append: bool = False,
        enforcePeriodicBox: bool | None = None,
        atomSubset: Sequence[int] | None = None,
    ) -> None:
        self._interval, self._periodic = _interval(reportInterval), enforcePeriodicBox
        self._atoms = slice(None) if atomSubset is None else [as_integer(i, "atomSubset") for i in atomSubset]
        kept = 0
        if append and Path(file).exists():
            with XTCTrajectoryFile(str(file)) as trajectory:
                kept = len(trajectory)
        self._writer = FrameWriter(file, frames=kept, size=Path(file).stat().st_size if kept else 0)

    def describeNextReport(self, simulation: app.Simulation) -> dict[str, object]:
        """Steps to the next frame, and what it needs."""
        steps = self._interval - simulation.currentStep % self._interval
        return {"steps": steps, "periodic": self._periodic, "include": ["positions"]}

    def report(self, simulation: app.Simulation, state: openmm.State) -> None:
        """Write a frame."""
        positions = state.getPositions(asNumpy=True)._value[self._atoms]
        periodic = simulation.topology.getPeriodicBoxVectors() is not None
        box = state.getPeriodicBoxVectors(asNumpy=True)._value if periodic else None
        self._writer.write(positions[None], np.array([state.getTime().value_in_unit(unit.picosecond)]), box)

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def __del__(self) -> None:
        if hasattr(self, "_writer"):
            self.close()

    def __repr__(self) -> str:
        return f"TimedXTCReporter({str(self._writer.path)!r}, every {self._interval} steps)"


def _interval(steps: int) -> int:
    if as_integer(steps, "reportInterval") < 1:
        raise ValueError(f"reportInterval is {steps}; expected a number of steps from 1")
    return steps
