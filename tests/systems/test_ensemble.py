"""Thermostats and barostats among the forces of a System."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import openmm
import pytest
from openmm import app, unit

from latentmd.systems.builder import build
from latentmd.systems.dynamics import MdSettings, run_md
from latentmd.systems.ensemble import barostat_fault, temperature_fault, thermostat_fault
from latentmd.systems.errors import MoleculeError
from latentmd.systems.protocol import InputOptions, Protocol

BAROSTATS = {
    "MonteCarloBarostat": lambda kelvin: openmm.MonteCarloBarostat(1, kelvin),
    "MonteCarloAnisotropicBarostat": lambda kelvin: openmm.MonteCarloAnisotropicBarostat((1, 1, 1), kelvin),
    "MonteCarloFlexibleBarostat": lambda kelvin: openmm.MonteCarloFlexibleBarostat(1, kelvin),
    "MonteCarloMembraneBarostat": lambda kelvin: openmm.MonteCarloMembraneBarostat(
        1, 0, kelvin, openmm.MonteCarloMembraneBarostat.XYIsotropic, openmm.MonteCarloMembraneBarostat.ZFree
    ),
}


def _system(*forces: openmm.Force) -> openmm.System:
    system = openmm.System()
    system.addParticle(1.0)
    nonbonded = openmm.NonbondedForce()
    nonbonded.addParticle(0.0, 0.1, 0.0)
    nonbonded.setNonbondedMethod(openmm.NonbondedForce.CutoffPeriodic)
    system.setDefaultPeriodicBoxVectors((3, 0, 0), (0, 3, 0), (0, 0, 3))
    for force in (nonbonded, *forces):
        system.addForce(force)
    return system


def test_nothing_is_wrong_with_other_forces() -> None:
    system = _system(openmm.CMMotionRemover(), openmm.CustomExternalForce("x"))
    assert thermostat_fault(system) == barostat_fault(system) == temperature_fault({"k": 300.0}, 350.0) == ""


def test_a_thermostat_is_named_with_its_index() -> None:
    fault = thermostat_fault(_system(openmm.AndersenThermostat(100 * unit.kelvin, 1)))
    assert "force 1, AndersenThermostat at 100 K" in fault and "removeForce(1)" in fault


@pytest.mark.parametrize("name", BAROSTATS)
def test_every_barostat_is_named(name: str) -> None:
    system = _system(BAROSTATS[name](300))
    assert f"force 1, {name}" in barostat_fault(system) and thermostat_fault(system) == ""


@pytest.mark.parametrize("force", [*BAROSTATS, "AndersenThermostat"])
def test_no_run_takes_a_system_that_has_one(alanine: Any, tmp_path: Path, force: str) -> None:
    """From a file and from Python alike: run_md loses a box when it restarts the Context."""
    system = copy.deepcopy(alanine.system)
    system.addForce(BAROSTATS[force](350) if force in BAROSTATS else openmm.AndersenThermostat(100, 1))
    with pytest.raises(ValueError, match=f"{force}.*remove it with"):
        next(run_md(replace(alanine, system=system), MdSettings(1, 1.0, seed=0)))
    (tmp_path / "system.xml").write_text(openmm.XmlSerializer.serialize(system))
    with open(tmp_path / "structure.pdb", "w") as file:
        app.PDBFile.writeFile(alanine.topology, alanine.positions, file)
    inputs = InputOptions(system=str(tmp_path / "system.xml"))
    with pytest.raises(MoleculeError, match=f"system.xml: the System has a .*{force}"):
        build(tmp_path / "structure.pdb", Protocol(inputs=inputs))


@pytest.mark.parametrize("name", BAROSTATS)
def test_the_temperature_of_a_barostat_is_read_from_the_context(name: str) -> None:
    context = openmm.Context(
        _system(BAROSTATS[name](300)), openmm.VerletIntegrator(1), openmm.Platform.getPlatformByName("Reference")
    )
    parameters: Any = dict(context.getParameters())
    assert temperature_fault(parameters, 300.0) == ""
    assert temperature_fault(parameters, 350.0).startswith("the barostat is at 300 K, the model at 350 K")
