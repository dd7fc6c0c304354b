"""Conditions of the training data beside those of the settings."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.evaluation.frames import engine_forces
from latentmd.systems.builder import InputOptions, Protocol, build
from latentmd.systems.own_force_field import write_system
from latentmd.training.conditions import check_conditions, with_conditions, with_own_force_field
from latentmd.training.config import ConfigError, TrainingConfig
from latentmd.training.labels import engine_molecule
from latentmd.training.train import training_reference

FILES = Path(__file__).parents[1] / "systems" / "own_force_field"


def recorded(folder: Path, **protocol: Any) -> list[Path]:
    (folder / "request.json").write_text(json.dumps({"protocol": protocol}))
    return [folder / "walker-0000.xtc"]


def test_trajectories_of_other_programs_are_taken_at_the_settings_word(tmp_path: Path) -> None:
    check_conditions(TrainingConfig(temperature=300), [tmp_path / "my.xtc"])
    (tmp_path / "request.json").write_text("[]")
    check_conditions(TrainingConfig(temperature=300), [tmp_path / "my.xtc"])


def test_the_same_conditions_pass(tmp_path: Path) -> None:
    files = recorded(tmp_path, temperature=350.0, solvent="implicit", force_field=[], timestep=0.004)
    check_conditions(TrainingConfig(), files)
    check_conditions(TrainingConfig(force_field=("amber14/protein.ff14SB.xml", "implicit/obc2.xml")), files)


@pytest.mark.parametrize(
    ("name", "value"), [("temperature", 300.0), ("solvent", "vacuum"), ("force_field", ["gaff.xml"])]
)
def test_another_condition_is_refused(tmp_path: Path, name: str, value: Any) -> None:
    files = recorded(tmp_path, **{name: value})
    stated = {"temperature": 350.0, "solvent": "implicit", "force_field": ("amber14/protein.ff14SB.xml",)}[name]
    with pytest.raises(ConfigError, match=f"simulated with {name}"):
        check_conditions(TrainingConfig(**{name: stated}), files)
    found = getattr(with_conditions(TrainingConfig(), files, water=False), name)
    assert found == (tuple(value) if name == "force_field" else value), "what is not stated follows the record"


def test_runs_under_two_conditions_are_refused(tmp_path: Path) -> None:
    files = []
    for name, kelvin in (("a", 300.0), ("b", 350.0)):
        (tmp_path / name).mkdir()
        files += recorded(tmp_path / name, temperature=kelvin, solvent="implicit", force_field=[])
    with pytest.raises(ConfigError, match=r"b: simulated with temperature 350\.0, the settings say 300\.0"):
        with_conditions(TrainingConfig(), files, water=False)


@pytest.mark.parametrize(("water", "solvent"), [(True, "explicit"), (False, "unknown")])
def test_without_a_record_the_energy_is_not_known(tmp_path: Path, water: bool, solvent: str) -> None:
    config = with_conditions(TrainingConfig(), [tmp_path / "my.xtc"], water)
    assert (config.solvent, config.temperature, config.has_energy) == (solvent, 300.0, False)
    stated = with_conditions(TrainingConfig(solvent="vacuum", temperature=280), [tmp_path / "my.xtc"], water)
    assert (stated.solvent, stated.temperature, stated.has_energy) == ("vacuum", 280.0, True)


def test_the_force_field_of_the_run_makes_the_labels(tmp_path: Path) -> None:
    inputs = InputOptions(positions=str(FILES / "ala.gro"))
    molecule = build(FILES / "ala.top", Protocol("vacuum", inputs=inputs))
    write_system(molecule, tmp_path)
    shutil.copy(FILES / "ala.pdb", top := tmp_path / "topology.pdb")
    config = with_own_force_field(TrainingConfig(), top)
    assert (config.solvent, config.force_field) == ("vacuum", molecule.protocol.force_field)
    positions = build(FILES / "ala.pdb").positions
    made = engine_molecule(config, top, None, top.read_text())
    energies, _ = engine_forces(made.context(made.langevin(0)), np.array([positions._value], np.float32))
    context = molecule.context(molecule.langevin(1))
    context.setPositions(positions)
    assert energies[0] == pytest.approx(context.getState(energy=True).getPotentialEnergy()._value, abs=1e-3)
    with pytest.raises(ConfigError, match="leave solvent out"):
        with_own_force_field(TrainingConfig(solvent="implicit"), top)


def test_a_model_of_an_own_force_field_needs_the_runs_system(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"needs the run's system\.xml"):
        with_own_force_field(TrainingConfig(force_field=("system:0123456789abcdef",)), tmp_path / "topology.pdb")
    assert with_own_force_field(TrainingConfig(), tmp_path / "topology.pdb") == TrainingConfig()


def test_every_frame_is_in_the_histogram(alanine_runs: list[Any], alanine_topology: Any) -> None:
    found = training_reference(alanine_runs[:2], alanine_topology, np.arange(1001.0))
    ((table),) = found["ramachandran"]
    assert table["residue"] == "ALA2" and np.sum(table["counts"]) == found["frames"] == 1000
    assert found["energy_quantiles"] == (1.0, 500.0, 999.0)
    assert training_reference(alanine_runs[:1], alanine_topology, None)["energy_quantiles"] is None
