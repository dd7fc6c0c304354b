"""A parametrised molecule: its Context, thermostat and box; the platform is chosen by timing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.systems import molecule
from latentmd.systems.builder import Protocol, build

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_a_context_is_at_the_starting_positions(alanine: Any) -> None:
    context = alanine.context(openmm.VerletIntegrator(0.001), "Reference")
    x = context.getState(positions=True).getPositions(asNumpy=True)._value
    np.testing.assert_allclose(x, np.asarray(alanine.positions._value), atol=1e-12)
    assert context.getPlatform().getName() == "Reference"


@pytest.mark.parametrize("seed", [0, 7, 2**31 - 1])
def test_the_thermostat_is_the_protocols_and_seeded(alanine: Any, seed: int) -> None:
    """OpenMM takes a seed of 0 for "draw one", so that no seed may become 0."""
    integrator, protocol = alanine.langevin(seed), alanine.protocol
    assert integrator.getTemperature()._value == protocol.temperature
    assert integrator.getFriction()._value == protocol.friction
    assert integrator.getStepSize()._value == pytest.approx(protocol.timestep)
    assert integrator.getRandomNumberSeed() == seed % (2**31 - 2) + 1 > 0


def test_a_molecule_alone_has_no_box(alanine: Any) -> None:
    assert alanine.box() is None


def test_a_periodic_one_has_its_box() -> None:
    molecule = build(ALANINE, Protocol("explicit"))
    expected = molecule.system.getDefaultPeriodicBoxVectors()
    box = molecule.box()
    assert box is not None
    np.testing.assert_allclose(box, [[value for value in vector._value] for vector in expected])
    assert (np.diag(box) >= 2).all()


def test_reference_and_cpu_are_always_there() -> None:
    assert {"Reference", "CPU"} <= set(molecule.platforms())


def test_the_fastest_wins(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = {"Reference": 1.0, "CPU": 2.0}
    monkeypatch.setattr(molecule, "platforms", lambda: list(rates))
    monkeypatch.setattr(molecule, "time_platform", lambda _, name, threads=None: rates[name])
    assert molecule.fastest_platform(alanine) == "CPU"


def test_timing_measures_steps(alanine: Any) -> None:
    assert molecule.time_platform(alanine, "Reference", 0.02) > 0
