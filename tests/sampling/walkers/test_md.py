"""Plain MD end to end: files, times, seeds, bad input, interruption."""

from __future__ import annotations

import json
import resource
import signal
import time
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

import latentmd
from latentmd.io.atomic import OutputError
from latentmd.io.provenance import read_provenance
from latentmd.sampling.run.options import picoseconds
from latentmd.sampling.run.stopping import RunResult
from latentmd.sampling.walkers.plan import check_times, processes_for
from latentmd.systems.builder import MoleculeError

ALANINE = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunResult:
    out = tmp_path_factory.mktemp("md") / "run"
    return latentmd.md(ALANINE, time="2ps", save_every="0.2ps", walkers=3, seed=1, out=out, processes=2)


def test_every_output_is_there(run: RunResult) -> None:
    names = {path.name for path in run.folder.iterdir()}
    walkers = {f"walker-{i:04d}.xtc" for i in range(3)}
    shared = {"request.json", "state", "topology.pdb", "provenance.csv", "summary.json", "report.png"}
    assert names == walkers | shared | {"evaluation.html"}
    assert (run.folder / "report.png").read_bytes().startswith(b"\x89PNG")


def test_trajectories_have_true_times(run: RunResult) -> None:
    for path in run.trajectories:
        trajectory = mdtraj.load(str(path), top=str(run.topology))
        assert np.allclose(trajectory.time, 0.2 * np.arange(1, 11), atol=1e-5)
        assert np.all(np.isfinite(trajectory.xyz))


def test_a_walker_is_the_same_whichever_others_are_beside_it(run: RunResult, tmp_path: Path) -> None:
    if run.summary["engine"] != "replicas":
        pytest.skip("OpenMM's Reference platform keeps a random number from one walker to the next")
    fewer = latentmd.md(ALANINE, time="2ps", walkers=2, save_every="0.2ps", seed=1, processes=1, out=tmp_path / "fewer")
    for one, other in zip(run.trajectories, fewer.trajectories, strict=False):
        found, expected = (mdtraj.load(str(path), top=str(run.topology)).xyz for path in (other, one))
        np.testing.assert_array_equal(found, expected)


def test_provenance_matches_the_frames(run: RunResult) -> None:
    rows = read_provenance(run.folder / "provenance.csv")
    assert rows["walker"].tolist() == [0] * 10 + [1] * 10 + [2] * 10
    assert set(rows["kind"]) == {"md"} and set(rows["checks_failed"]) == {""}
    assert np.allclose(rows["time_ps"][:10], 0.2 * np.arange(1, 11))


def test_summary_tells_how_the_run_was_made(run: RunResult) -> None:
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary == run.summary
    assert summary["status"] == "complete" and summary["frames"] == [10, 10, 10]
    assert summary["protocol"]["force_field"] == ["amber14/protein.ff14SB.xml", "implicit/obc2.xml"]
    assert summary["protocol"]["temperature"] == 350.0 and summary["frame_interval_ps"] == 0.2
    assert {"openmm", "torch", "python"} <= summary["versions"].keys()
    assert summary["wall_seconds"]["total"] > 0 and summary["speed"]["ns_per_day"] > 0


def test_a_filled_folder_is_refused_and_untouched(run: RunResult) -> None:
    before = {path: path.read_bytes() for path in run.folder.rglob("*.*")}
    with pytest.raises(OutputError, match="--overwrite"):
        latentmd.md(ALANINE, time="2ps", out=run.folder)
    assert {path: path.read_bytes() for path in run.folder.rglob("*.*")} == before


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"time": "1ps", "save_every": "0.3ps"}, "--time is 1 ps; expected a multiple of --save-every"),
        ({"time": "1ps", "save_every": "1fs"}, "multiple of the time step"),
        ({"time": "1ps", "walkers": 0}, "--walkers is 0"),
        ({"time": "1ps", "temperature": -5.0}, "--temperature is -5 K"),
        ({"time": "1ps", "timestep": "20fs"}, "--timestep is 20 fs"),
        ({"time": "1"}, "no unit"),
        ({"time": "1ps", "force_field": ("nothing.xml",)}, "cannot be read"),
    ],
)
def test_bad_settings_write_nothing(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        latentmd.md(ALANINE, out=tmp_path / "run", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_molecule_writes_nothing(tmp_path: Path) -> None:
    with pytest.raises(MoleculeError, match="no such file"):
        latentmd.md(tmp_path / "none.pdb", time="1ps", out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_molecules_without_phi_get_a_report(tmp_path: Path) -> None:
    from latentmd.systems.peptide import backbone, pdb_block

    pdb = tmp_path / "n_methylacetamide.pdb"
    pdb.write_text(pdb_block(backbone(["ACE", "NME"])))
    result = latentmd.md(pdb, time="1ps", walkers=1, out=tmp_path / "run")
    assert (result.folder / "report.png").stat().st_size > 10_000
    assert len(result.summary["added_atoms"]) == 7


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_and_sigterm_leave_readable_files(tmp_path: Path, start: Any, number: int) -> None:
    out = tmp_path / "run"
    arguments = ("--time", "1us", "--walkers", "2", "--out", out, "--save-every", "1ps")
    process = start("md", ALANINE, *arguments)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        files = [path for path in out.glob("walker-*.xtc") if path.stat().st_size > 0] if out.exists() else []
        if len(files) == 2:
            break
        time.sleep(0.05)
    process.send_signal(number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "stopped; " in errors and "Traceback" not in errors
    rows = read_provenance(out / "provenance.csv")
    for walker, path in enumerate(sorted(out.glob("walker-*.xtc"))):
        frames = mdtraj.load(str(path), top=str(out / "topology.pdb"))
        assert frames.n_frames == int(np.sum(rows["walker"] == walker)) > 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["status"] == "interrupted" and sum(summary["frames"]) == len(rows["walker"])
    assert (out / "evaluation.html").exists() and (out / "report.png").exists()


def test_full_disk_fails_with_a_message_and_keeps_whole_frames(tmp_path: Path, start: Any) -> None:
    def limit_files() -> None:
        limit = 400_000  # more than the at most 1000 frames that are written at a time
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    out = tmp_path / "run"
    arguments = ("--time", "1ns", "--walkers", "1", "--save-every", "0.1ps", "--out", out)
    process = start("md", ALANINE, *arguments, preexec_fn=limit_files)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 1
    assert "is the disk full?" in errors and "Traceback" not in errors
    assert mdtraj.load(str(out / "walker-0000.xtc"), top=str(out / "topology.pdb")).n_frames > 0


def test_helpers() -> None:
    assert picoseconds("1ns") == 1000.0 and picoseconds(5) == 5.0
    check_times(100.0, 0.1, 0.004)
    assert processes_for(1, 8) == 1
    with pytest.raises(ValueError, match="--processes"):
        processes_for(1, 0)


def test_the_wall_time_ends_a_run_that_goes_on_with_more(tmp_path: Path, clock: Any) -> None:
    """Time goes by once a session has come so far: until then it stands still."""

    def pass_time(stage: str, done: float | None = None, total: float | None = None) -> None:
        if stage == "simulating" and done is not None and done > enough:
            clock.now = begun + 99.9

    options: dict[str, Any] = {"time": "4ns", "walkers": 2, "processes": 1, "out": tmp_path / "run"}
    begun, enough = clock.now, 0.0
    first = latentmd.md(ALANINE, wall=100.0, begun=begun, progress=pass_time, **options)
    assert first.summary["status"] == "budget" and sum(first.summary["frames"]) > 0 and first.page is not None
    assert first.summary["wall_seconds"]["total"] == pytest.approx(99.9)
    # Frames after the last state that was kept are simulated again.
    begun, enough = clock.now, 2 * first.summary["simulated_ps"]
    second = latentmd.md(ALANINE, wall=199.0, resume=True, begun=begun, progress=pass_time, **options)
    assert sum(second.summary["frames"]) > sum(first.summary["frames"])
    for walker, frames in enumerate(second.summary["frames"]):
        assert len(second.load(walker)) == frames
    with pytest.raises(ValueError, match="--wall belongs to one molecule"):
        latentmd.md_data_set([ALANINE], time="1ns", wall=5.0, out=tmp_path / "set")
