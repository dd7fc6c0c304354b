"""Masses of hydrogens: made heavier where the time step needs it, with the mass of the molecule kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from openmm import app

from latentmd.systems.own_force_field import check_timestep, identity, repartition
from latentmd.systems.protocol import MoleculeError, Protocol

PDB = Path(__file__).parent / "own_force_field" / "ala.pdb"


def light(constraints: Any = app.HBonds) -> tuple[openmm.System, app.Topology]:
    """Alanine dipeptide with hydrogens of 1 amu, as OpenFF writes Systems."""
    topology = app.PDBFile(str(PDB)).topology
    return app.ForceField("amber14/protein.ff14SB.xml").createSystem(topology, constraints=constraints), topology


def masses(system: openmm.System) -> Any:
    return np.array([system.getParticleMass(i)._value for i in range(system.getNumParticles())])


def test_light_hydrogens_are_made_heavier_for_a_long_step() -> None:
    system, topology = light()
    before = masses(system)
    notes = repartition(system, topology, Protocol("vacuum"))
    assert "12 hydrogens made 3 amu heavy" in notes[0] and "4 fs" in notes[0]
    heavy = app.ForceField("amber14/protein.ff14SB.xml").createSystem(topology, constraints=app.HBonds, hydrogenMass=3)
    assert np.allclose(masses(system), masses(heavy)) and masses(system).sum() == pytest.approx(before.sum())
    check_timestep(system, topology, Protocol("vacuum"), "a.xml")
    name = identity(system)
    assert repartition(system, topology, Protocol("vacuum")) == [] and identity(system) == name


@pytest.mark.parametrize(("constraints", "timestep"), [(app.HBonds, 0.002), (None, 0.004), (None, 0.001)])
def test_what_needs_no_change_or_cannot_have_it_is_left(constraints: Any, timestep: float) -> None:
    system, topology = light(constraints)
    before = masses(system)
    assert repartition(system, topology, Protocol("vacuum", timestep=timestep)) == []
    assert np.array_equal(masses(system), before)


def test_free_bonds_to_hydrogen_need_a_short_step() -> None:
    system, topology = light(None)
    with pytest.raises(MoleculeError, match=r"a.xml: does not constrain bonds to hydrogen, .* --timestep 1fs"):
        check_timestep(system, topology, Protocol("vacuum"), "a.xml")
    check_timestep(system, topology, Protocol("vacuum", timestep=0.001), "a.xml")
