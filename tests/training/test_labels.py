"""Engine energies and forces of frames."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import openmm
import pytest

from latentmd.evaluation.frames import engine_forces
from latentmd.systems.builder import MoleculeError, build
from latentmd.systems.own_force_field import identity, read_system
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.training.conditions import with_own_force_field
from latentmd.training.config import ConfigError, TrainingConfig, parse_config
from latentmd.training.labels import engine_molecule

FILES = Path(__file__).parents[1] / "systems" / "own_force_field"


def test_forces_are_minus_the_gradient_of_the_energies(
    pdb: Path, alanine_runs: list[Any], tiny: dict[str, Any]
) -> None:
    frame = alanine_runs[0][100].astype(np.float64)
    step = 1e-4
    moved = np.stack([frame, frame, frame])
    moved[1, 8, 0] += step
    moved[2, 8, 0] -= step
    molecule = engine_molecule(parse_config(tiny), pdb, None, pdb.read_text())
    energies, forces = engine_forces(molecule.context(molecule.langevin(0)), moved)
    assert -(energies[1] - energies[2]) / (2 * step) == pytest.approx(forces[0, 8, 0], rel=2e-3, abs=1.0)
    np.testing.assert_allclose(forces.sum(axis=1), 0, atol=0.1)


def test_a_prmtop_is_a_force_field_where_the_solvent_is_stated(tmp_path: Path) -> None:
    top = Path(shutil.copy(FILES / "ala.prmtop", tmp_path))
    text = (FILES / "ala.pdb").read_text()
    expected = build(top, Protocol("implicit", inputs=InputOptions(positions=str(FILES / "ala.pdb"))))
    made = engine_molecule(TrainingConfig(solvent="implicit"), top, None, text)
    assert made.protocol.force_field == expected.protocol.force_field
    with pytest.raises(ConfigError, match="energies need a prmtop, a --system, or `force_field`"):
        engine_molecule(TrainingConfig(solvent="implicit"), Path(shutil.copy(FILES / "ala.psf", tmp_path)), None, text)


def test_a_system_that_is_given_makes_the_labels(tmp_path: Path) -> None:
    """As it was written: the time step makes hydrogens heavier, which changes its identity and no energy."""
    system = read_system(FILES / "system.xml")
    for k in range(system.getNumParticles()):
        system.setParticleMass(k, 1.008 if system.getParticleMass(k)._value < 5 else 12.0)
    (path := tmp_path / "mine.xml").write_text(openmm.XmlSerializer.serialize(system))
    top = Path(shutil.copy(FILES / "ala.pdb", tmp_path))
    config = with_own_force_field(TrainingConfig(), top, str(path))
    assert config.has_energy and config.force_field == (identity(system),)
    made = engine_molecule(config, top, str(path), top.read_text())
    frames = np.array([made.positions._value], np.float32)
    given = build(FILES / "ala.pdb", Protocol.of(config, InputOptions(system=str(FILES / "system.xml"))))
    own, other = (engine_forces(m.context(m.langevin(0)), frames)[0] for m in (made, given))
    assert own == pytest.approx(other, abs=1e-3)
    system.setDefaultPeriodicBoxVectors([3, 0, 0], [0, 3, 0], [0, 0, 3])
    force = openmm.NonbondedForce()
    force.setNonbondedMethod(openmm.NonbondedForce.PME)
    for _ in range(system.getNumParticles()):
        force.addParticle(0, 0.1, 0)
    system.addForce(force)
    path.write_text(openmm.XmlSerializer.serialize(system))
    with pytest.raises(ConfigError, match="describes a periodic box; give a System of the solute alone"):
        with_own_force_field(TrainingConfig(), top, str(path))


def test_energies_are_those_of_the_selected_molecule(pdb: Path, tmp_path: Path) -> None:
    one = mdtraj.load(str(pdb))
    one.stack(one).save_pdb(str(top := tmp_path / "two.pdb"))
    config = TrainingConfig(solvent="vacuum", force_field=("amber14-all.xml",))
    assert engine_molecule(config, top, None, pdb.read_text()).topology.getNumAtoms() == one.n_atoms
    with pytest.raises(MoleculeError, match=f"{top}: the file is empty"):
        engine_molecule(config, top, None, "")
