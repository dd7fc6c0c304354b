"""Twenty force fields and more beside the bundled model's are refused by a term; its own is accepted by every route."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app, unit

from latentmd.integrators import LatentIntegrator
from latentmd.model.file import read_manifest
from latentmd.systems.agreement import disagreeing_term, mixing_fault

FILES = Path(__file__).parent / "own_force_field"
MODEL = "alanine-dipeptide"
FF14SB, OBC2 = "amber14/protein.ff14SB.xml", "implicit/obc2.xml"


@pytest.fixture(scope="module")
def topology() -> app.Topology:
    found: app.Topology = read_manifest(MODEL).molecule()[0]
    return found


def make(topology: app.Topology, *files: str, **options: Any) -> openmm.System:
    return app.ForceField(*files).createSystem(topology, **{"constraints": app.HBonds, **options})


def why(system: openmm.System, atoms: Any = range(22)) -> str:
    return disagreeing_term(system, list(atoms), read_manifest(MODEL))


@pytest.mark.parametrize(
    ("files", "term"),
    [
        ([FF14SB], "no implicit solvent"),
        ([FF14SB, "implicit/hct.xml"], "another generalised Born solvent"),
        ([FF14SB, "implicit/obc1.xml"], "another generalised Born solvent"),
        ([FF14SB, "implicit/gbn.xml"], "another generalised Born solvent"),
        ([FF14SB, "implicit/gbn2.xml"], "another generalised Born solvent"),
        (["amber99sb.xml", OBC2], "of periodicity 2 is 8.368 kJ/mol"),
        (["amber99sbildn.xml", OBC2], "torsion ACE1-C ALA2-N ALA2-CA"),
        (["amber99sbnmr.xml", OBC2], "torsion ACE1-C ALA2-N ALA2-CA"),
        (["amber99sb.xml", "amber99_obc.xml"], "solvent dielectric of OBC2 is 78.3"),
        (["amber03.xml", OBC2], "charge of ACE1-CH3 is -0.190264 e"),
        (["amber10.xml", OBC2], "torsion ACE1-C ALA2-N ALA2-CA"),
        (["amber96.xml", OBC2], "angle ACE1-C ALA2-N ALA2-H is 251.04"),
        (["amberfb15.xml", OBC2], "bond ACE1-CH3 ACE1-C is 230198"),
        (["amber14/protein.ff15ipq.xml", OBC2], "charge of ACE1-CH3 is -0.0163 e"),
        (["amber19/protein.ff19SB.xml", OBC2], "torsion ACE1-C ALA2-N ALA2-CA"),
    ],
)
def test_force_fields_by_files(topology: app.Topology, files: list[str], term: str) -> None:
    found = why(make(topology, *files))
    assert term in found and f"the model's force field ({FF14SB}, {OBC2})" in found


def test_polarisable_force_field(topology: app.Topology) -> None:
    assert "has no NonbondedForce" in why(app.ForceField("amoeba2018.xml").createSystem(topology))


def _force(system: openmm.System, kind: type) -> Any:
    return next(force for force in system.getForces() if isinstance(force, kind))


def _charges(system: openmm.System) -> None:
    force = _force(system, openmm.NonbondedForce)
    for i in range(22):
        charge, sigma, epsilon = force.getParticleParameters(i)
        force.setParticleParameters(i, 1.01 * charge, sigma, epsilon)


def _sigma(system: openmm.System) -> None:
    force = _force(system, openmm.NonbondedForce)
    charge, sigma, epsilon = force.getParticleParameters(8)
    force.setParticleParameters(8, charge, 1.01 * sigma, epsilon)


def _epsilon(system: openmm.System) -> None:
    force = _force(system, openmm.NonbondedForce)
    charge, sigma, epsilon = force.getParticleParameters(8)
    force.setParticleParameters(8, charge, sigma, 1.2 * epsilon)


def _pairs(system: openmm.System) -> None:
    force = _force(system, openmm.NonbondedForce)
    for k in range(force.getNumExceptions()):
        i, j, charge, sigma, epsilon = force.getExceptionParameters(k)
        force.setExceptionParameters(k, i, j, *(0.8 * charge, sigma, epsilon))


def _no_torsions(system: openmm.System) -> None:
    system.removeForce([type(force).__name__ for force in system.getForces()].index("PeriodicTorsionForce"))


def _torsion(system: openmm.System) -> None:
    force = _force(system, openmm.PeriodicTorsionForce)
    *atoms, n, phase, k = force.getTorsionParameters(0)
    force.setTorsionParameters(0, *atoms, n, phase, k + 0.5 * unit.kilojoule_per_mole)


def _phase(system: openmm.System) -> None:
    force = _force(system, openmm.PeriodicTorsionForce)
    row = next(i for i in range(force.getNumTorsions()) if force.getTorsionParameters(i)[-1]._value > 1)
    *atoms, n, phase, k = force.getTorsionParameters(row)
    force.setTorsionParameters(row, *atoms, n, phase + 0.5 * unit.radian, k)


def _angle(system: openmm.System) -> None:
    force = _force(system, openmm.HarmonicAngleForce)
    *atoms, least, k = force.getAngleParameters(0)
    force.setAngleParameters(0, *atoms, least + 0.02 * unit.radian, k)


def _bond(system: openmm.System) -> None:
    _force(system, openmm.HarmonicBondForce).addBond(0, 8, 0.4, 1000.0)


def _constraint(system: openmm.System) -> None:
    i, j, length = system.getConstraintParameters(0)
    system.setConstraintParameters(0, i, j, 1.05 * length)


def _radii(system: openmm.System) -> None:
    force = _force(system, openmm.CustomGBForce)
    force.setParticleParameters(7, (*force.getParticleParameters(7)[:1], 0.1, 0.085))


def _cutoff(system: openmm.System) -> None:
    _force(system, openmm.NonbondedForce).setNonbondedMethod(openmm.NonbondedForce.CutoffNonPeriodic)


def _offsets(system: openmm.System) -> None:
    force = _force(system, openmm.NonbondedForce)
    force.addGlobalParameter("scale", 0.0)
    force.addParticleParameterOffset("scale", 0, *(0.1, 0.0, 0.0))


def _second(system: openmm.System) -> None:
    force = openmm.NonbondedForce()
    for _ in range(22):
        force.addParticle(0.1, 0.3, 0.1)
    system.addForce(force)


def _map(system: openmm.System) -> None:
    force = openmm.CMAPTorsionForce()
    force.addMap(4, [1.0] * 16)
    force.addTorsion(0, *(4, 6, 8, 10), *(6, 8, 10, 16))
    system.addForce(force)


@pytest.mark.parametrize(
    ("change", "term"),
    [
        (_charges, r"charge of ACE1-CH3 is -0.369862 e in the System; .* has -0.3662"),
        (_sigma, r"sigma of ALA2-CA is 0.343"), (_epsilon, "epsilon of ALA2-CA is 0.549"),
        (_pairs, r"charge product of the pair ACE1-\w+ \S+ is"),
        (_no_torsions, r"torsion .* is 0 kJ/mol in the System"),
        (_torsion, r"force constant of the torsion .* of periodicity"), (_phase, r"phase of the torsion .* rad"),
        (_angle, r"minimum of the angle .* rad"), (_bond, r"the System has the bond ACE1-CH3 ALA2-CA with 1000 kJ"),
        (_constraint, "the System has no term of the bond"), (_radii, "generalised Born radius of ALA2-H is 0.109 nm"),
        (_cutoff, "the System has CutoffNonPeriodic with a cutoff of 1 nm"),
        (_offsets, "the System has a NonbondedForce with offsets; .* has none"),
        (_second, "the System has a second NonbondedForce; .* has none"),
        (_map, "the System has a CMAPTorsionForce that acts on the molecule"),
    ],
)  # fmt: skip
def test_changed_terms(topology: app.Topology, change: Callable[[openmm.System], None], term: str) -> None:
    system = make(topology, FF14SB, OBC2)
    assert why(system) == ""
    change(system)
    assert re.search(term, why(system))


def test_a_molecule_s_own_nonbonded_terms_meet_the_rest_of_a_mixed_system(topology: app.Topology) -> None:
    system, manifest = make(topology, FF14SB), read_manifest(MODEL)
    assert mixing_fault(system, range(22), manifest) == ""
    _offsets(system)
    assert "a NonbondedForce with offsets" in mixing_fault(system, range(22), manifest)


def test_options_of_the_solvent(topology: app.Topology) -> None:
    for option in ({"solventDielectric": 40.0}, {"soluteDielectric": 4.0}, {"implicitSolventKappa": 1.0}):
        assert "with other dielectrics or with salt" in why(make(topology, FF14SB, OBC2, **option))


def test_its_own_by_every_route(topology: app.Topology) -> None:
    options: list[dict[str, Any]] = [
        {}, {"constraints": None}, {"constraints": app.AllBonds}, {"constraints": app.HAngles},
        {"hydrogenMass": 4 * unit.amu}, {"rigidWater": False, "removeCMMotion": False},
    ]  # fmt: skip
    for option in options:  # ForceField, with any constraints and masses
        assert why(make(topology, FF14SB, OBC2, **option)) == "", option
    assert why(make(topology, "amber14-all.xml", OBC2)) == ""
    text = openmm.XmlSerializer.serialize(make(topology, FF14SB, OBC2))
    assert why(openmm.XmlSerializer.deserialize(text)) == ""


def test_its_own_by_prmtop(topology: app.Topology) -> None:
    """A file of AmberTools, with atoms in Amber's order, on the native OBC2 force and on the custom one."""
    prmtop = app.AmberPrmtopFile(str(FILES / "ala.prmtop"))
    order = read_manifest(MODEL).covers(prmtop.topology).order
    for constraints in (None, app.HBonds):
        assert why(prmtop.createSystem(implicitSolvent=app.OBC2, constraints=constraints), order) == ""
    assert "another generalised Born" in why(prmtop.createSystem(implicitSolvent=app.OBC1), order)
    assert "no implicit solvent" in why(prmtop.createSystem(), order)


@pytest.mark.parametrize("seed", range(3))
def test_its_own_in_any_order(topology: app.Topology, seed: int) -> None:
    """Atoms at random inside residues, as another program may list them."""
    from latentmd.integrators.openmm_selection import sub_topology

    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(part) for part in (range(6), range(6, 16), range(16, 22))])
    moved = sub_topology(topology, rows.tolist())
    order = read_manifest(MODEL).covers(moved).order
    assert why(make(moved, FF14SB, OBC2), order) == ""
    assert why(make(moved, "amber99sb.xml", OBC2), order) != ""


def test_biases_and_other_atoms_are_no_force_field(topology: app.Topology) -> None:
    """Restraints, collective variables and bonds to other particles; see examples/03_subset_with_restraint.py."""
    system = make(topology, FF14SB, OBC2)
    system.addParticle(22.99)
    _force(system, openmm.NonbondedForce).addParticle(1.0, 0.3, 0.1)
    _force(system, openmm.CustomGBForce).addParticle([1.0, 0.15, 0.12])
    _force(system, openmm.HarmonicBondForce).addBond(8, 22, 0.5, 1000.0)
    restraint = openmm.CustomTorsionForce("k*(1-cos(theta))")
    restraint.addGlobalParameter("k", 10.0)
    restraint.addTorsion(4, 6, 8, 10)
    distance = openmm.CustomBondForce("r")
    distance.addBond(0, 21)
    variable = openmm.CustomCVForce("5*d")
    variable.addCollectiveVariable("d", distance)
    for force in (restraint, variable, openmm.MonteCarloBarostat(1.0, 300.0), openmm.CMMotionRemover()):
        system.addForce(force)
    assert why(system) == ""


def test_the_integrator_refuses_with_the_term(topology: app.Topology) -> None:
    with pytest.raises(
        ValueError, match=r"the System has no implicit solvent; .*: a model holds in its own force field"
    ):
        LatentIntegrator(350, MODEL, system=make(topology, FF14SB), topology=topology, device="cpu")
