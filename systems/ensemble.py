"""Forces of a System that set its temperature or change its box beside the integrator."""

from __future__ import annotations

from collections.abc import Mapping

import openmm
from openmm import unit

_BAROSTATS = (
    openmm.MonteCarloBarostat,
    openmm.MonteCarloAnisotropicBarostat,
    openmm.MonteCarloFlexibleBarostat,
    openmm.MonteCarloMembraneBarostat,
    openmm.RPMDMonteCarloBarostat,
)
TEMPERATURE_TOLERANCE = 0.01  # K


def thermostat_fault(system: openmm.System) -> str:
    """Says that a System has a thermostat of its own, which would act beside the integrator's; "" where it has none."""
    for index, force in enumerate(system.getForces()):
        if isinstance(force, openmm.AndersenThermostat):
            kelvin = force.getDefaultTemperature().value_in_unit(unit.kelvin)
            return (
                f"the System has a thermostat of its own (force {index}, AndersenThermostat at {kelvin:g} K), which "
                f"would act beside the integrator's; remove it with system.removeForce({index})"
            )
    return ""


def barostat_fault(system: openmm.System) -> str:
    """Says that a System has a barostat, where a run keeps the box of its input; "" where it has none."""
    for index, force in enumerate(system.getForces()):
        if isinstance(force, _BAROSTATS):
            return (
                f"the System has a barostat (force {index}, {type(force).__name__}), but runs keep the box; remove it "
                f"with system.removeForce({index}) after equilibration at its pressure"
            )
    return ""


def temperature_fault(parameters: Mapping[str, float], kelvin: float) -> str:
    """Says that a thermostat or a barostat of a Context holds a temperature other than the integrator's; "" if none.

    OpenMM keeps the temperatures of such forces in the parameters of the Context, so that forces added after the
    integrator was made, and temperatures changed during the run, are seen.
    """
    if openmm.AndersenThermostat.Temperature() in parameters:
        return "the System has an AndersenThermostat, which would act beside the integrator's; remove it"
    for name, value in parameters.items():
        if name.endswith("MonteCarloTemperature") and abs(value - kelvin) > TEMPERATURE_TOLERANCE:
            return f"the barostat is at {value:g} K, the model at {kelvin:g} K; give the barostat {kelvin:g} K"
    return ""
