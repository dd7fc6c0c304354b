"""The latent force of a System: shared by integrators, and noticed where its group is changed."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.integrators import LatentIntegrator, alternate
from latentmd.integrators.openmm_seat import FORCE_NAME

REFERENCE = openmm.Platform.getPlatformByName("Reference")


def _integrator(alanine: Any, bundle: Path, system: openmm.System, **options: Any) -> LatentIntegrator:
    return LatentIntegrator(350, bundle, 50, system=system, topology=alanine.topology, **options)


def _latent_forces(system: openmm.System) -> list[openmm.Force]:
    return [force for force in system.getForces() if force.getName() == FORCE_NAME]


def test_simulations_of_one_system_share_its_force(alanine: Any, ou_bundle: Path) -> None:
    system = copy.deepcopy(alanine.system)
    ends = []
    for seed in (1, 1, 2):
        integrator = _integrator(alanine, ou_bundle, system, seed=seed)
        simulation = app.Simulation(alanine.topology, system, integrator, REFERENCE)
        simulation.context.setPositions(alanine.positions)
        simulation.step(3)
        ends.append(simulation.context.getState(positions=True).getPositions(asNumpy=True)._value)
    assert len(_latent_forces(system)) == 1
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.abs(ends[0] - ends[2]).max() > 0.01


def test_a_copied_system_gets_a_force_of_its_own(alanine: Any, ou_bundle: Path) -> None:
    system = copy.deepcopy(alanine.system)
    first = _integrator(alanine, ou_bundle, system)
    twin = copy.deepcopy(system)
    second = _integrator(alanine, ou_bundle, twin)
    assert len(_latent_forces(twin)) == 2 and second.getForceGroup() != first.getForceGroup()
    context = openmm.Context(twin, second, REFERENCE)
    context.setPositions(alanine.positions)
    before = context.getState(positions=True).getPositions(asNumpy=True)._value
    second.step(2)
    assert second.provider.steps == 2
    assert np.abs(context.getState(positions=True).getPositions(asNumpy=True)._value - before).max() > 0.01


def _each_its_own(forces: list[openmm.Force]) -> None:
    for number, force in enumerate(forces):
        force.setForceGroup(number)


def _all_one(forces: list[openmm.Force]) -> None:
    for force in forces:
        force.setForceGroup(0)


def _another_beside_it(forces: list[openmm.Force]) -> None:
    forces[0].setForceGroup(31)


def _exchanged(forces: list[openmm.Force]) -> None:
    forces[0].setForceGroup(31)
    forces[-1].setForceGroup(0)


def _moved_to_a_free_one(forces: list[openmm.Force]) -> None:
    forces[-1].setForceGroup(20)


@pytest.mark.parametrize(
    "change", [_each_its_own, _all_one, _another_beside_it, _exchanged, _moved_to_a_free_one], ids=lambda f: f.__name__
)
@pytest.mark.parametrize("alternating", [False, True])
def test_groups_changed_later_are_refused_by_the_next_step(
    alanine: Any, ou_bundle: Path, snapshot: Callable[[Any], Any], change: Callable[[Any], None], alternating: bool
) -> None:
    system = copy.deepcopy(alanine.system)
    integrator: Any = _integrator(alanine, ou_bundle, system)
    if alternating:
        integrator, _ = alternate(alanine.langevin(1), integrator, (1, 1))
    change(list(system.getForces()))
    context = openmm.Context(system, integrator, REFERENCE)
    context.setPositions(alanine.positions)
    if alternating:
        integrator.setCurrentIntegrator(1)
    before = snapshot(context)
    with pytest.raises(openmm.OpenMMException, match="give the forces their groups first, then make the integrator"):
        integrator.step(1)
    after = snapshot(context)
    np.testing.assert_array_equal(after["x"], before["x"])
    assert after["parameters"]["latentmd_mode"] == 0 and after["steps"] == 0


def test_groups_given_before_are_kept(alanine: Any, ou_bundle: Path) -> None:
    system = copy.deepcopy(alanine.system)
    _each_its_own(list(system.getForces()))
    integrator = _integrator(alanine, ou_bundle, system)
    context = openmm.Context(system, integrator, REFERENCE)
    context.setPositions(alanine.positions)
    integrator.step(2)
    assert context.getParameter("latentmd_step") == 2 and integrator.provider.steps == 2


def test_no_free_group_is_one_sentence(alanine: Any, ou_bundle: Path) -> None:
    system = copy.deepcopy(alanine.system)
    for group in range(32):
        force = openmm.CustomBondForce("r")
        force.setForceGroup(group)
        system.addForce(force)
    with pytest.raises(ValueError, match="all 32 force groups of the System are in use"):
        _integrator(alanine, ou_bundle, system)
