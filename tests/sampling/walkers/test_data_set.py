"""Data sets of many molecules: what is made, what fails, what a second session does, and what is refused."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest

import latentmd
from latentmd.io.atomic import OutputError
from latentmd.replicas.library import library
from latentmd.sampling.run.stopping import RunError
from latentmd.sampling.walkers.data_set import DataSetResult, molecule_files, molecule_seed
from latentmd.systems.peptide import backbone, pdb_block

SETTINGS: dict[str, Any] = {"time": "0.4ps", "save_every": "0.2ps", "walkers": 2, "seed": 1, "processes": 1}


def _peptide(folder: Path, *residues: str) -> Path:
    path = folder / f"{'-'.join(residues).lower()}.pdb"
    path.write_text(pdb_block(backbone(["ACE", *residues, "NME"])))
    return path


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two peptides, a file that is none, and one that no molecule is read from."""
    folder = tmp_path_factory.mktemp("inputs")
    _peptide(folder, "GLY")
    _peptide(folder, "ALA")
    (folder / "xenon.pdb").write_text(
        "HETATM    1 XE   XEN A   1       0.000   0.000   0.000  1.00  0.00          XE\n"
    )
    (folder / "notes.txt").write_text("not a molecule")
    return folder


@pytest.fixture(scope="module")
def made(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> DataSetResult:
    return latentmd.md_data_set([inputs], out=tmp_path_factory.mktemp("set") / "set", **SETTINGS)


def test_the_manifest_names_what_was_made_and_what_failed(made: DataSetResult) -> None:
    manifest = json.loads((made.folder / "manifest.json").read_text())
    assert manifest == made.manifest
    assert [row["name"] for row in manifest["molecules"]] == ["ala", "gly"]
    for row in manifest["molecules"]:
        files = [row["topology"], *row["trajectories"]]
        assert len(files) == 3 and all((made.folder / file).stat().st_size for file in files)
        assert row["frames"] == [2, 2] and row["residues"][0] == "ACE"
    assert list(made.failed) == ["xenon"] and "XEN" in made.failed["xenon"]


@pytest.mark.skipif(library() is None, reason="OpenMM's Reference platform keeps a number from one walker to the next")
def test_a_molecule_is_the_same_by_itself(made: DataSetResult, inputs: Path, tmp_path: Path) -> None:
    seed = molecule_seed(1, "gly")
    alone = latentmd.md(inputs / "gly.pdb", out=tmp_path / "gly", **{**SETTINGS, "seed": seed})
    for path in alone.trajectories:
        assert path.read_bytes() == (made.folder / "gly" / path.name).read_bytes()


def test_a_second_session_keeps_what_is_done_and_adds_molecules(
    made: DataSetResult, inputs: Path, tmp_path: Path
) -> None:
    before = {path: path.stat().st_mtime_ns for path in made.folder.glob("*/*.xtc")}
    more = _peptide(tmp_path, "VAL")
    reports: list[tuple[float, float]] = []
    files = [inputs / "gly.pdb", more]
    again = latentmd.md_data_set(
        files, out=made.folder, resume=True, progress=lambda _, done, total: reports.append((done, total)), **SETTINGS
    )
    assert [row["name"] for row in again.manifest["molecules"]] == ["ala", "gly", "val"]
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [done for done, _ in reports] == sorted(done for done, _ in reports)
    assert reports[0][0] >= 0.8 and reports[-1] == pytest.approx((1.6, 1.6))  # ps of two molecules, one of them done


def test_a_file_that_changed_is_refused(made: DataSetResult, inputs: Path, tmp_path: Path) -> None:
    other = tmp_path / "gly.pdb"
    other.write_text((inputs / "gly.pdb").read_text() + "REMARK changed\n")
    with pytest.raises(OutputError, match="is not the file that"):
        latentmd.md_data_set([other], out=made.folder, resume=True, **SETTINGS)


def test_overwriting_removes_the_runs_of_molecules_and_nothing_else(inputs: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    latentmd.md_data_set([inputs / "gly.pdb", inputs / "xenon.pdb"], out=out, **SETTINGS)
    (out / "mine").mkdir()
    result = latentmd.md_data_set([inputs / "ala.pdb"], out=out, overwrite=True, **SETTINGS)
    assert sorted(path.name for path in out.iterdir() if path.is_dir()) == ["ala", "mine"]
    assert [row["name"] for row in result.manifest["molecules"]] == ["ala"]


@pytest.mark.slow
def test_a_stopped_data_set_goes_on_to_the_same_files(inputs: Path, tmp_path: Path, start: Any) -> None:
    out, files = tmp_path / "set", [str(inputs / name) for name in ("gly.pdb", "ala.pdb")]
    options = "--time 40ps --save-every 0.2ps --walkers 2 --seed 1 --processes 1 --out".split()
    command = ["md", *files, *options, out]
    process = start(*command)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(path.stat().st_size for path in out.glob("*/walker-*.xtc")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "stopped; " in errors and "Traceback" not in errors
    resumed = start(*command, "--resume")
    _, errors = resumed.communicate(timeout=120)
    assert resumed.returncode == 0, errors
    rows = json.loads((out / "manifest.json").read_text())["molecules"]
    assert [row["frames"] for row in rows] == [[200, 200], [200, 200]]


@pytest.mark.slow
@pytest.mark.skipif(library() is None, reason="OpenMM's Reference platform keeps a number from one walker to the next")
@pytest.mark.parametrize("mode", ["md", "model"])
def test_a_cluster_one_of_whose_workers_is_killed_makes_the_same_files(
    mode: str, inputs: Path, tmp_path: Path, two_workers: Any
) -> None:
    make: Any = latentmd.md_data_set if mode == "md" else latentmd.simulate_data_set
    settings = {**SETTINGS, **({"time": "40ps"} if mode == "md" else {"time": "4ns", "save_every": "20ps"})}
    files = [inputs / name for name in ("gly.pdb", "ala.pdb")]
    here = make(files, out=tmp_path / "here", **settings)
    out = tmp_path / "there"
    with two_workers(lambda: any(path.stat().st_size for path in out.glob("*/walker-*.xtc"))) as address:
        made = make(files, out=out, scheduler=address, **settings)
    assert {row["name"] for row in made.manifest["molecules"]} == {"ala", "gly"}
    for row in made.manifest["molecules"]:
        assert row["frames"] == [200, 200]
        for path in row["trajectories"]:
            assert (out / path).read_bytes() == (here.folder / path).read_bytes()


def test_nothing_but_failures_is_an_error(inputs: Path, tmp_path: Path) -> None:
    with pytest.raises(RunError, match="none of 1 molecules could be simulated; xenon"):
        latentmd.md_data_set([inputs / "xenon.pdb"], out=tmp_path / "set", **SETTINGS)


def test_files_are_named_by_their_stems(inputs: Path, tmp_path: Path) -> None:
    assert list(molecule_files([inputs])) == ["ala", "gly", "xenon"]
    (tmp_path / "gly.cif.gz").touch()
    with pytest.raises(ValueError, match="would both be called gly"):
        molecule_files([inputs, tmp_path / "gly.cif.gz"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="no molecules in this folder"):
        molecule_files([tmp_path / "empty"])
    with pytest.raises(ValueError, match="no such file or folder"):
        molecule_files([tmp_path / "none.pdb"])


def test_what_belongs_to_one_molecule_is_refused(inputs: Path, tmp_path: Path) -> None:
    from latentmd.systems.protocol import InputOptions

    own = InputOptions(system="system.xml")
    with pytest.raises(ValueError, match="--system belongs to one molecule"):
        latentmd.md_data_set([inputs], out=tmp_path / "set", inputs=own, **SETTINGS)
    assert list(tmp_path.iterdir()) == []


def test_rollouts_of_several_molecules_take_what_each_may_have(inputs: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"time": "40ps", "save_every": "20ps", "walkers": 1, "processes": 1}
    made = latentmd.simulate_data_set([inputs], out=tmp_path / "set", mode="latent", **settings)
    assert [row["frames"] for row in made.manifest["molecules"]] == [[2], [2]]
    assert made.manifest["mode"] == "latent" and list(made.failed) == ["xenon"]
    assert made.told[1] == "failed: xenon; manifest.json has the reasons"
    with pytest.raises(OutputError, match="another mode"):
        latentmd.simulate_data_set([inputs], out=tmp_path / "set", resume=True, **settings)
    for options, reason in (
        ({"mode": "chains"}, "--mode chains simulates one molecule"),
        ({"mode": "warp"}, "--mode is 'warp'; expected one of"),
        ({"wall": 10.0}, "--wall belongs to one molecule"),
    ):
        with pytest.raises(ValueError, match=reason):
            latentmd.simulate_data_set([inputs], out=tmp_path / "other", **{**settings, **options})
    assert not (tmp_path / "other").exists()
