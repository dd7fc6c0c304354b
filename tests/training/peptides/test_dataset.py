"""Data sets of many molecules: three forms, splits, conditions, and what is wrong with others."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.io.trajectory import TrajectoryError
from latentmd.systems.protocol import Protocol
from latentmd.training.peptides.dataset import (
    DatasetError,
    MoleculeFiles,
    dataset_protocol,
    find_molecules,
    read_molecule,
    split_molecules,
)


def _files(dataset: Path, name: str = "trialanine") -> MoleculeFiles:
    return next(item for item in find_molecules(dataset) if item.name == name)


def test_the_three_forms_name_the_same_files(peptide_dataset: Path, tmp_path: Path) -> None:
    folders = find_molecules(peptide_dataset)
    assert [item.name for item in folders] == sorted(item.name for item in folders) and len(folders) == 4
    for item in folders:
        shutil.copy(item.topology, tmp_path / f"{item.name}.pdb")
        for number, run in enumerate(item.trajectories):
            shutil.copy(run, tmp_path / f"{item.name}-{number}.xtc")
    flat = find_molecules(tmp_path)
    assert [(x.name, len(x.trajectories)) for x in flat] == [(x.name, len(x.trajectories)) for x in folders]
    rows = [{"name": x.name, "topology": x.topology.name, "trajectories": [t.name for t in x.trajectories]}
            for x in flat]  # fmt: skip
    (tmp_path / "manifest.json").write_text(json.dumps({"molecules": rows}))
    assert find_molecules(tmp_path) == flat


def test_a_molecule_is_read_as_runs_of_picometres_ten_ps_apart(peptide_dataset: Path) -> None:
    item = _files(peptide_dataset)
    found = read_molecule(item)
    assert found.frames.shape[:2] == (2, 24) and found.frames.dtype == np.int16 and found.interval == 10.0
    stored = mdtraj.load(str(item.trajectories[1]), top=str(item.topology)).xyz
    centred = stored - stored.mean(axis=1, keepdims=True)
    assert np.abs(found.frames[1] * 1e-3 - centred).max() < 6e-4


def test_frames_closer_than_ten_ps_are_thinned(peptide_dataset: Path, tmp_path: Path) -> None:
    item = _files(peptide_dataset)
    run = mdtraj.load(str(item.trajectories[0]), top=str(item.topology))
    mdtraj.Trajectory(run.xyz, run.topology, time=5.0 * np.arange(1, 25)).save(str(tmp_path / "a.xtc"))
    found = read_molecule(MoleculeFiles("a", item.topology, (tmp_path / "a.xtc",)))
    assert found.frames.shape[1] == 12 and found.interval == 10.0
    both = MoleculeFiles("a", item.topology, (tmp_path / "a.xtc", item.trajectories[0]))
    assert read_molecule(both).frames.shape[:2] == (2, 12)


def test_splits_are_the_manifests_or_a_seeded_share() -> None:
    free = [MoleculeFiles(str(k), Path("p"), (Path("x"),)) for k in range(10)]
    training, held = split_molecules(free, share=0.2, seed=3)
    assert len(training) == 8 and len(held) == 2 and not {x.name for x in training} & {x.name for x in held}
    assert split_molecules(free, share=0.2, seed=3) == (training, held)
    assert len(split_molecules(free, share=1.0, seed=0)[0]) == 1
    named = [*free[:8], MoleculeFiles("v", Path("p"), (), "validation"), MoleculeFiles("t", Path("p"), (), "test")]
    training, held = split_molecules(named, share=0.5, seed=0)
    assert [x.name for x in held] == ["v"] and [x.name for x in training] == [x.name for x in free[:8]]


def test_conditions_come_from_the_record_and_must_agree(tmp_path: Path) -> None:
    def recorded(name: str, **protocol: object) -> MoleculeFiles:
        (tmp_path / name).mkdir()
        (tmp_path / name / "request.json").write_text(json.dumps({"protocol": protocol}))
        return MoleculeFiles(name, tmp_path / name / "topology.pdb", (tmp_path / name / "walker-0000.xtc",))

    files = ("amber14/protein.ff14SB.xml", "implicit/obc2.xml")
    cold, also = recorded("a", temperature=300.0, solvent="implicit", force_field=[]), recorded("b", temperature=300.0)
    assert dataset_protocol([cold, also]) == Protocol("implicit", files, temperature=300.0)
    assert dataset_protocol([MoleculeFiles("c", Path("c.pdb"), (tmp_path / "c.xtc",))]) == Protocol("implicit", files)
    with pytest.raises(DatasetError, match=r"a and d were simulated under different conditions, 300 K .* 350 K"):
        dataset_protocol([cold, also, recorded("d", temperature=350.0)])


def _manifest(text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / "manifest.json").write_text(text) and None


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda folder: folder.rmdir(), "no such folder"),
        (lambda folder: None, "holds no molecule with trajectories"),
        (_manifest("{"), "is not of the form"),
        (_manifest('{"molecules": [{"name": "a"}]}'), "is not of the form"),
        (_manifest('{"molecules": [{"name": "a", "topology": "a.pdb", "trajectories": ["a.xtc"]}]}'), "not exist"),
        (
            _manifest('{"molecules": [{"name": "a", "topology": "a", "trajectories": [], "split": "dev"}]}'),
            "the split of a is 'dev'; expected train, validation, test",
        ),
    ],
)
def test_other_folders_are_refused(make: Callable[[Path], None], message: str, tmp_path: Path) -> None:
    folder = tmp_path / "set"
    folder.mkdir()
    make(folder)
    with pytest.raises(DatasetError, match=message):
        find_molecules(folder)


def test_runs_that_do_not_fit_are_refused(peptide_dataset: Path, tmp_path: Path) -> None:
    item, other = _files(peptide_dataset), _files(peptide_dataset, "alanine_dipeptide")
    with pytest.raises(TrajectoryError, match="has 22 atoms, the topology has"):
        read_molecule(MoleculeFiles("a", item.topology, other.trajectories))
    run = mdtraj.load(str(item.trajectories[0]), top=str(item.topology))
    mdtraj.Trajectory(run.xyz, run.topology, time=15.0 * np.arange(1, 25)).save(str(tmp_path / "a.xtc"))
    with pytest.raises(DatasetError, match=r"frames are \[10.0, 15.0\] ps apart"):
        read_molecule(MoleculeFiles("a", item.topology, (item.trajectories[0], tmp_path / "a.xtc")))
    run[:1].save(str(tmp_path / "b.xtc"))
    with pytest.raises(TrajectoryError, match="has 1 frame; at least 2 are needed"):
        read_molecule(MoleculeFiles("b", item.topology, (tmp_path / "b.xtc",)))
