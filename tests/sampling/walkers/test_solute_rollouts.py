"""Latent rollouts of a solute whose force field is not known: from its file or its model, and what needs MD refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd import LatentIntegrator, simulate
from latentmd.model.file import save
from latentmd.systems.protocol import InputOptions

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"


@pytest.fixture(scope="module")
def model(solute_model: Path) -> Path:
    """A model file that says that its trajectories were of a solute in water."""
    return solute_model


@pytest.fixture(scope="module")
def wet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alanine dipeptide beside a water molecule, as a GRO file, which names no bonds."""
    dry = mdtraj.load(str(MOLECULES / "alanine_dipeptide.pdb"))
    topology = dry.topology.copy()
    water = topology.add_residue("HOH", topology.add_chain(), resSeq=9)
    for name, element in (
        ("O", mdtraj.element.oxygen),
        ("H1", mdtraj.element.hydrogen),
        ("H2", mdtraj.element.hydrogen),
    ):
        topology.add_atom(name, element, water)
    far = [[2.0, 2.0, 2.0], [2.0957, 2.0, 2.0], [1.976, 2.0927, 2.0]]
    path = tmp_path_factory.mktemp("gro") / "conf.gro"
    mdtraj.Trajectory(np.concatenate([dry.xyz, [far]], axis=1), topology).save_gro(str(path))
    return path


def test_a_model_alone_is_simulated_and_goes_on(model: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"walkers": 2, "save_every": "50ps", "processes": 1, "out": tmp_path / "run"}
    run = simulate(model, time="1ns", **settings)
    assert run.summary["mode"] == "latent" and run.summary["frames"] == [20, 20]
    assert run.summary["frames_failing_checks"] <= 1 and run.page is not None
    rows = run.provenance()
    assert set(rows["kind"]) == {"latent"} and np.isnan(rows["potential_energy"]).all()
    assert run.summary["protocol"]["force_field"] == ["not known"]
    assert len(run.load(1)) == 20
    again = simulate(model, time="1ns", resume=True, **settings)
    assert again.summary == run.summary
    assert "evaluate" in run.page.read_text() and "latentmd md" not in run.page.read_text()


def test_the_molecule_of_the_model_is_chosen_among_several(model: Path, tmp_path: Path) -> None:
    one = mdtraj.load(str(MOLECULES / "alanine_dipeptide.pdb"))
    one.stack(mdtraj.Trajectory(one.xyz + 1.0, one.topology)).save_pdb(str(tmp_path / "two.pdb"))
    given: dict[str, Any] = {"model": model, "time": "100ps", "save_every": "50ps", "walkers": 1, "processes": 1}
    with pytest.raises(ValueError, match=r"it has 44 atoms.*--select chooses the molecule of the model"):
        simulate(tmp_path / "two.pdb", out=tmp_path / "run", **given)
    inputs = InputOptions(select="resid 3 to 5")
    assert simulate(tmp_path / "two.pdb", out=tmp_path / "run", inputs=inputs, **given).summary["atoms"] == 22
    with pytest.raises(ValueError, match="--select is for models whose force field is not known"):
        simulate(tmp_path / "two.pdb", mode="md", time="100ps", out=tmp_path / "md", inputs=inputs)


def test_a_structure_in_water_is_taken_without_it(model: Path, wet: Path, tmp_path: Path) -> None:
    run = simulate(wet, model=model, time="100ps", save_every="50ps", walkers=1, out=tmp_path / "run")
    assert run.summary["atoms"] == 22
    assert any("1 HOH of conf.gro were left out" in note for note in run.summary["notes"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mode": "model"}, "--mode model needs MD of the solute"),
        ({"settle": True}, "--settle needs a force field"),
        ({"temperature": 300.0}, "was trained at 350 K"),
        ({"save_every": "1ps"}, "the model's steps are 5 ps to 50 ps"),
    ],
)
def test_what_needs_a_force_field_is_refused(
    model: Path, tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        simulate(model, **{"time": "100ps", "save_every": "50ps", "out": tmp_path / "run", **settings})
    assert not (tmp_path / "run").exists()


def test_another_molecule_is_refused(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"does not cover the molecule in .*trialanine.pdb"):
        simulate(MOLECULES / "trialanine.pdb", model=model, time="100ps", save_every="50ps", out=tmp_path / "run")


def test_engines_say_that_there_is_no_energy(model: Path) -> None:
    from ase.calculators.calculator import PropertyNotImplementedError
    from ase.io import read

    from latentmd.integrators import LatentCalculator

    atoms = read(str(MOLECULES / "alanine_dipeptide.pdb"))
    atoms.calc = LatentCalculator(model)
    with pytest.raises(PropertyNotImplementedError, match="explicit solvent, or in a force field that is not known"):
        atoms.get_potential_energy()
    from latentmd.systems.builder import build

    molecule = build(MOLECULES / "alanine_dipeptide.pdb")
    with pytest.raises(ValueError, match="a latent step would put the solute through its water"):
        LatentIntegrator(350, model, system=molecule.system, topology=molecule.topology)


def test_what_needs_md_of_the_solute_says_so(model: Path) -> None:
    from latentmd.model.file import read_manifest
    from latentmd.systems.protocol import Protocol

    with pytest.raises(ValueError, match="needs MD in a force field of the solute alone"):
        Protocol.of(read_manifest(model))


def test_paths_are_judged_by_structure_alone(model: Path, wet: Path, tmp_path: Path) -> None:
    from latentmd import paths

    settings: dict[str, Any] = {"time": "500ps", "every": "50ps", "count": 20, "processes": 1}
    run = paths(MOLECULES / "alanine_dipeptide.pdb", wet, model=str(model), out=tmp_path / "paths", **settings)
    rows = run.provenance()
    assert np.isnan(rows["potential_energy"]).all() and set(rows["kind"]) <= {"given", "latent", "relaxed"}
    assert run.summary["frames_relaxed"] == np.sum(rows["kind"] == "relaxed")
    assert np.mean(rows["checks_failed"] == "") > 0.9 and "no energies" in run.summary["notes"][0]
    assert "no energies" in run.page.read_text()


def test_inspect_says_what_it_lacks(model: Path) -> None:
    from click.testing import CliRunner

    from latentmd.cli.main import main

    told = CliRunner().invoke(main, ["inspect", str(model)])
    assert told.exit_code == 0, told.output
    assert "the model has no energy" in " ".join(told.output.split()) and "time step" not in told.output


def test_rollouts_that_leave_the_data_are_told_of(
    ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path: Path
) -> None:
    from latentmd.model.manifest import Landmarks
    from latentmd.model.propagator import Propagator

    told, fields = {}, {**ou_manifest, "solvent": "explicit", "force_field": []}
    save(tmp_path / "any.pt", ou_surrogate, fields)
    model = Propagator(tmp_path / "any.pt")
    mean = model.encode(model.molecule()[1][None])[0, 0].tolist()
    for name, limit in (("near", 9.0), ("left", 1.0)):  # planted: data about the mean alone, which torsions leave
        marks, path = Landmarks(centres=[mean], limit=limit), tmp_path / f"{name}.pt"
        save(path, ou_surrogate, {**fields, "training": {"landmarks": marks.model_dump()}})
        settings = {"walkers": 2, "processes": 1, "out": tmp_path / name}
        told[name] = simulate(path, time="1ns", save_every="50ps", **settings)
    assert told["near"].summary["left_the_data"] == {"frames": 0, "share": 0.0}
    assert "no frame is further from the training data" in told["near"].page.read_text()
    left, rows = told["left"], told["left"].provenance()
    slow = model.encode(np.concatenate([left.load(k).xyz for k in (0, 1)]))[:, 0].numpy()
    far = marks.distances(slow) > 1.0
    assert 0 < far.sum() < 20 and [("data" in failed) for failed in rows["checks_failed"]] == far.tolist()
    record = left.summary["left_the_data"]
    assert record["frames"] == far.sum() and record["time_ps"] == rows["time_ps"][far].min()
    assert "the first in walker" in left.page.read_text() and "slow axes" in left.page.read_text()
