"""Implicit solvent: OBC2 on OpenMM's native force, where it is the same model as the custom one."""

from __future__ import annotations

from typing import Any

import openmm

_OFFSET = 0.009  # nm, Onufriev, Bashford & Case, Proteins 55, 383 (2004)


def implicit_solvent(system: openmm.System) -> bool:
    """Whether a System holds a generalised Born force."""
    kinds = (openmm.CustomGBForce, openmm.GBSAOBCForce, openmm.AmoebaGeneralizedKirkwoodForce)
    return any(isinstance(force, kinds) for force in system.getForces())


def radius_fault(system: openmm.System) -> str:
    """Says that atoms have no Born radius, as in a prmtop whose RADII are 0; "" where all have one."""
    for force in system.getForces():
        if isinstance(force, openmm.GBSAOBCForce):
            radii = [force.getParticleParameters(i)[1]._value for i in range(force.getNumParticles())]
        elif isinstance(force, openmm.CustomGBForce) and force.getPerParticleParameterName(1) == "or":
            radii = [force.getParticleParameters(i)[1] + _OFFSET for i in range(force.getNumParticles())]
        else:
            continue
        none = sum(radius <= _OFFSET for radius in radii)
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


def _signature(force: openmm.CustomGBForce) -> list[Any]:
    values = [force.getComputedValueParameters(i) for i in range(force.getNumComputedValues())]
    terms = [force.getEnergyTermParameters(i) for i in range(force.getNumEnergyTerms())]
    names = [force.getPerParticleParameterName(i) for i in range(force.getNumPerParticleParameters())]
    return [values, terms, names, force.getNumGlobalParameters(), force.getNonbondedMethod()]


def _obc2_signature(area: str | None) -> list[Any]:
    from openmm.app.internal.customgbforces import GBSAOBC2Force

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
