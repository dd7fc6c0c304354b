"""Force field and solvent of a completed molecule, and forces that set its temperature or box beside the integrator."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import openmm
from openmm import app, unit
from openmm.app.internal.customgbforces import GBSAOBC2Force

from latentmd.arrays import Doubles
from latentmd.systems.names import PHOSPHATES, WATER
from latentmd.systems.protocol import DEFAULT_INPUTS, WATER_MODELS, InputOptions, MoleculeError, Protocol, without_water
from latentmd.systems.residues import Residue, listed
from latentmd.systems.sanity import in_nm
from latentmd.units import first_line

_OFFSET = 0.009  # nm, Onufriev, Bashford & Case, Proteins 55, 383 (2004)


def implicit_solvent(system: openmm.System) -> bool:
    """Whether a System holds a generalised Born force."""
    kinds = (openmm.CustomGBForce, openmm.GBSAOBCForce, openmm.AmoebaGeneralizedKirkwoodForce)
    return any(isinstance(force, kinds) for force in system.getForces())


def radius_fault(system: openmm.System) -> str:
    """Says that atoms have no Born radius, as in a prmtop whose RADII are 0; "" where all have one."""
    for force in system.getForces():
        native = isinstance(force, openmm.GBSAOBCForce)
        custom = isinstance(force, openmm.CustomGBForce) and force.getPerParticleParameterName(1) == "or"
        if not native and not custom:
            continue
        radii = [force.getParticleParameters(i)[1] for i in range(force.getNumParticles())]
        none = sum(radius._value <= _OFFSET if native else radius <= 0 for radius in radii)
        if none:
            return (
                f"{none} of {len(radii)} atoms have no radius for implicit solvent (RADII of a prmtop are 0); set "
                "them, as by `set default PBRadii mbondi2` in tleap or changeRadii in ParmEd, or use --solvent vacuum"
            )
    return ""


def with_native_obc2(system: openmm.System) -> openmm.System:
    """Replace the CustomGBForce of `implicit/obc2.xml` by the native GBSAOBCForce, where both are the same model.

    The custom force stores `or` = radius - 0.009 nm and `sr` = scale * or (Onufriev, Bashford & Case 2004), so
    radius = or + 0.009 and scale = sr / or. OpenMM's reader of CHARMM files leaves the surface area out. A System whose
    GB expressions differ is returned unchanged.
    """
    for index, force in enumerate(system.getForces()):
        if not isinstance(force, openmm.CustomGBForce):
            continue
        for area in ("ACE", None):
            if _signature(force) == _obc2_signature(area):
                native = _native_obc2(force)
                if area is None:
                    native.setSurfaceAreaEnergy(0.0)
                system.removeForce(index)
                system.addForce(native)
                return system
    return system


def _signature(force: openmm.CustomGBForce) -> list[object]:
    values = [force.getComputedValueParameters(i) for i in range(force.getNumComputedValues())]
    terms = [force.getEnergyTermParameters(i) for i in range(force.getNumEnergyTerms())]
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    return [values, terms, names, force.getNumGlobalParameters(), force.getNonbondedMethod()]


def _obc2_signature(area: str | None) -> list[object]:
    force = GBSAOBC2Force(SA=area)
    force.addParticle([0.0, 0.15, 0.8])
    force.finalize()
    return _signature(force)


def _native_obc2(custom: openmm.CustomGBForce) -> openmm.GBSAOBCForce:
    native = openmm.GBSAOBCForce()
    native.setSolventDielectric(78.5)
    native.setSoluteDielectric(1.0)
    native.setNonbondedMethod(openmm.GBSAOBCForce.NoCutoff)
    for i in range(custom.getNumParticles()):
        charge, offset_radius, scaled = custom.getParticleParameters(i)
        native.addParticle(charge, offset_radius + _OFFSET, scaled / offset_radius)
    return native


_PADDING = 1.0  # nm of water on every side of a solute that comes without
CUTOFF = 1.0  # nm, explicit solvent
_SHRINKS = 1.07  # by which a box may shrink at constant pressure: 3 % to the density of water, and fluctuations


def load_force_field(protocol: Protocol) -> app.ForceField:
    """The force field of a protocol."""
    files = protocol.force_field_files
    try:
        return app.ForceField(*files)
    except Exception as error:
        raise MoleculeError(
            f"force field {', '.join(files)} cannot be read ({first_line(error)}); "
            "expected names or paths of OpenMM force-field XML files"
        ) from error


def refuse_unknown(
    topology: app.Topology, residues: list[Residue], force_field: app.ForceField, protocol: Protocol
) -> None:
    """Refuse residues that the force field does not describe, by name; `residues` in the order of the topology."""
    unmatched = force_field.getUnmatchedResidues(topology)
    if not unmatched:
        return
    blamed = [residue for residue in unmatched if residue.name not in force_field._templates] or unmatched
    shown = listed(sorted({str(residues[residue.index]) for residue in blamed}))
    names = {residue.name for residue in blamed}
    if names <= WATER and protocol.solvent != "explicit":
        advice = "remove the water, or simulate it with --solvent explicit"
    elif names & PHOSPHATES:
        advice = (
            "Amber describes phosphorylated residues in phosaa14SB; convert it to OpenMM XML (openmmforcefields, or "
            "ParmEd) and name it with --force-field beside the protein's, or read an Amber prmtop of the molecule"
        )
    else:
        advice = (
            "remove them, complete them, or describe them with --force-field FILE.xml or --system (openmmforcefields "
            "makes either for a ligand)"
        )
    raise MoleculeError(
        f"unknown residues {shown}; expected residues, with all their atoms and bonds, "
        f"that {', '.join(protocol.force_field_files)} describes: {advice}"
    )


def solvated(
    topology: app.Topology, positions: unit.Quantity, force_field: app.ForceField, inputs: InputOptions = DEFAULT_INPUTS
) -> tuple[app.Topology, unit.Quantity, list[str]]:
    """A box of water around a solute that comes without; a file that brings water must bring its cell too."""
    waters = sum(residue.name in WATER for residue in topology.residues())
    if waters:
        if topology.getPeriodicBoxVectors() is None:
            raise MoleculeError("the file has water but no unit cell; add a CRYST1 record, or remove the water")
        if inputs != without_water(inputs, "water"):
            raise MoleculeError("the file brings its water; leave out --box, --padding and --salt, or remove the water")
        return topology, positions, []
    modeller, model = app.Modeller(topology, positions), WATER_MODELS[inputs.water]
    vectors = box_vectors(in_nm(positions), inputs)
    vectors = tuple(openmm.Vec3(*row) for row in vectors.tolist()) * unit.nanometer
    try:
        modeller.addSolvent(force_field, model, boxVectors=vectors, ionicStrength=inputs.salt * unit.molar)
    except Exception as error:
        raise MoleculeError(f"no box of water can be built around it: {first_line(error)}") from error
    residues = [residue.name for residue in modeller.topology.residues()][topology.getNumResidues() :]
    counts = ", ".join(f"{residues.count(name)} {name}" for name in sorted(set(residues)))
    return modeller.topology, modeller.positions, [f"solvent: {counts}"]


def box_vectors(solute: Doubles, inputs: InputOptions) -> Doubles:
    """Vectors (3, 3) in nm of a box of water around a solute (atoms, 3) in nm, with room for the cutoff."""
    shape = np.eye(3) if inputs.box == "cube" else np.array([[1, 0, 0], [0, 1, 0], [0.5, 0.5, np.sqrt(0.5)]])
    radius = np.linalg.norm(solute - (solute.min(axis=0) + solute.max(axis=0)) / 2, axis=1).max()
    least = 2 * CUTOFF * _SHRINKS / shape[2, 2]
    width = 2 * (radius + (_PADDING if inputs.padding is None else inputs.padding))
    if inputs.padding is None:
        width = max(width, least)
    elif width < least:
        needed = np.ceil(100 * (least / 2 - radius)) / 100
        raise MoleculeError(
            f"--padding {inputs.padding:g} makes a {inputs.box} of {width:.2f} nm, too small for the cutoff of "
            f"{CUTOFF:g} nm; give {needed:g} or more"
        )
    return np.asarray(width * shape)


def parametrise(topology: app.Topology, force_field: app.ForceField, protocol: Protocol) -> openmm.System:
    """OpenMM System with constrained hydrogens, whose GB model is the native one where that is the same."""
    files = ", ".join(protocol.force_field_files)
    options: dict[str, object] = {"nonbondedMethod": app.NoCutoff}
    if protocol.solvent == "explicit":
        options = {"nonbondedMethod": app.PME, "nonbondedCutoff": CUTOFF * unit.nanometer}
    try:
        system = force_field.createSystem(
            topology, constraints=app.HBonds, hydrogenMass=protocol.hydrogen_mass * unit.amu, **options
        )
    except Exception as error:
        raise MoleculeError(f"{files} cannot describe it: {first_line(error)}") from error
    found = implicit_solvent(system)
    if protocol.solvent == "implicit" and not found:
        advice = "add --force-field implicit/obc2.xml, or use --solvent vacuum"
        raise MoleculeError(f"force field {files} has no implicit solvent; {advice}")
    if protocol.solvent != "implicit" and found:
        raise MoleculeError(f"force field {files} brings implicit solvent; use --solvent implicit, or leave it out")
    return with_native_obc2(system)


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
        if type(force).__name__.endswith("Barostat"):
            return (
                f"the System has a barostat (force {index}, {type(force).__name__}), but runs keep the box; remove it "
                f"with system.removeForce({index}) after equilibration at its pressure"
            )
    return ""


def temperature_fault(parameters: Mapping[str, float], kelvin: float) -> str:
    """Says that a thermostat or barostat of a Context, by its parameters, has another temperature; "" if none."""
    if openmm.AndersenThermostat.Temperature() in parameters:
        return "the System has an AndersenThermostat, which would act beside the integrator's; remove it"
    for name, value in parameters.items():
        if name.endswith("MonteCarloTemperature") and abs(value - kelvin) > TEMPERATURE_TOLERANCE:
            return f"the barostat is at {value:g} K, the model at {kelvin:g} K; give the barostat {kelvin:g} K"
    return ""
