"""The log of a run with latent steps: true times, segments, failed checks."""

from __future__ import annotations

import copy
import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mdtraj.formats import XTCTrajectoryFile
from openmm import app

from latentmd.integrators import LatentReporter, TimedXTCReporter
from latentmd.integrators.reporter import COLUMNS

Make = Callable[..., Any]


def test_other_reporters_keep_their_steps_and_the_latent_reporter_has_true_times(latent_simulation: Make) -> None:
    simulation, latent = latent_simulation(cycle=(10, 1))
    text, state_data = io.StringIO(), io.StringIO()
    schedule = simulation.reporters[0]
    simulation.reporters.append(LatentReporter(text, 5, latent, schedule))
    simulation.reporters.append(app.StateDataReporter(state_data, 4, step=True))
    simulation.step(24)
    rows = list(csv.DictReader(io.StringIO(text.getvalue())))
    assert tuple(rows[0]) == COLUMNS
    assert [int(row["step"]) for row in rows] == [5, 10, 15, 20]
    times = [0.02, 0.04, 50.056, 50.076]
    np.testing.assert_allclose([float(row["time_ps"]) for row in rows], times, atol=1e-6)
    assert [row["segment"] for row in rows] == ["md"] * 4
    assert [row["latent_steps"] for row in rows] == ["0", "0", "1", "1"]
    assert all(row["failed_checks"] == "" for row in rows)
    assert state_data.getvalue().split()[-6:] == ["4", "8", "12", "16", "20", "24"]


@pytest.mark.parametrize("kind", ["XTCReporter", "DCDReporter"])
def test_wrong_times_of_openmm_s_reporters_are_told_once(latent_simulation: Make, tmp_path: Path, kind: str) -> None:
    simulation, _ = latent_simulation(cycle=(10, 1))
    simulation.reporters.append(getattr(app, kind)(str(tmp_path / "run"), 5))
    with pytest.warns(UserWarning, match="TimedXTCReporter writes true times"):
        simulation.step(2)
    simulation.step(20)
    simulation.reporters.clear()


def test_the_trajectory_has_the_context_s_times(latent_simulation: Make, tmp_path: Path) -> None:
    simulation, latent = latent_simulation(cycle=(10, 1))
    path = tmp_path / "run.xtc"
    for append in (False, True):
        reporter = TimedXTCReporter(path, 5, append=append, atomSubset=range(10))
        simulation.reporters[1:] = [reporter]
        simulation.step(12)
        reporter.close()
    with XTCTrajectoryFile(str(path)) as file:
        xyz, times, _, box = file.read()
    np.testing.assert_allclose(times, [0.02, 0.04, 50.056, 50.076], atol=1e-5)
    assert xyz.shape == (4, 10, 3) and box is None
    assert str(path) in repr(reporter) and repr(latent) in repr(simulation.integrator)
    assert repr(simulation.reporters[0]).startswith("AlternationSchedule(cycle=(10, 1)")


def test_the_reporter_names_latent_frames_and_needs_the_provider(latent_simulation: Make, tmp_path: Path) -> None:
    simulation, latent = latent_simulation(cycle=(2, 1))
    path = tmp_path / "latent.csv"
    reporter = LatentReporter(path, 1, latent, simulation.reporters[0])
    simulation.reporters.append(reporter)
    simulation.step(4)
    reporter.close()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [row["segment"] for row in rows] == ["md", "md", "latent", "md"]
    assert float(rows[2]["potential_kJ_mol"]) < 0
    simulation.reporters[-1] = reporter = LatentReporter(path, 1, latent, simulation.reporters[0], append=True)
    simulation.step(2)
    reporter.close()
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    for make in (lambda n: TimedXTCReporter(tmp_path / "run.xtc", n), lambda n: LatentReporter(path, n, latent)):
        with pytest.raises(ValueError, match="reportInterval is 0; expected a number of steps from 1"):
            make(0)
        with pytest.raises(TypeError, match=r"reportInterval is 2\.5; expected an integer"):
            make(2.5)
    with pytest.raises(TypeError, match="atomSubset is 'a'; expected an integer"):
        TimedXTCReporter(tmp_path / "run.xtc", 1, atomSubset="all")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="integrator is a AlternatingIntegrator"):
        LatentReporter(path, 1, simulation.integrator)
    bare = copy.copy(latent)
    bare.provider = None
    with pytest.raises(ValueError, match="pass the one made with the System"):
        LatentReporter(path, 1, bare)
