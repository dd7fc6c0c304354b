"""Upsampling with the bundled model: given frames stay, the others are sound and near them, resume repeats."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.molecule.checks import aligned_rmsd, torsions
from latentmd.sampling.paths.upsample import upsample

TOP = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory, chain: Any, propagator: Any) -> Path:
    """Nine frames 5 ps apart of a made trajectory."""
    import torch

    rng = np.random.default_rng(0)
    frames = propagator.decode(torch.from_numpy(chain.draw(0, 9, rng)), rng)
    path = tmp_path_factory.mktemp("coarse") / "coarse.xtc"
    top = mdtraj.load_topology(str(TOP))
    mdtraj.Trajectory(frames, top, time=100 + 5.0 * np.arange(9)).save_xtc(str(path))
    return path


@pytest.fixture(scope="module")
def filled(coarse: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    return upsample(coarse, TOP, every="1ps", out=tmp_path_factory.mktemp("up") / "run", processes=1)


def test_given_frames_stay_and_the_rest_is_filled_in(coarse: Path, filled: Any) -> None:
    given = mdtraj.load(str(coarse), top=str(TOP))
    made = mdtraj.load(str(filled.trajectory), top=str(filled.topology))
    assert made.time.tolist() == pytest.approx((100 + np.arange(41.0)).tolist())
    for frame in range(9):
        assert aligned_rmsd(made.xyz[5 * frame : 5 * frame + 1], given.xyz[frame : frame + 1])[0] < 2e-3
    kinds = filled.provenance()["kind"]
    assert (kinds[::5] == "given").all() and "given" not in np.delete(kinds, np.arange(0, 41, 5))
    assert filled.summary["frames_failing_checks"] == 0 and filled.summary["frames_made"] == 32
    names = {(a.residue.name, a.name): a.index for a in made.topology.atoms}
    phi = [names[k] for k in (("ACE", "C"), ("ALA", "N"), ("ALA", "CA"), ("ALA", "C"))]
    assert (torsions(made.xyz, np.array([phi])) < 0.2).all()  # between frames of phi < 0, 5 ps apart


def test_resume_repeats_what_is_missing(coarse: Path, filled: Any, tmp_path: Path) -> None:
    import shutil

    again = tmp_path / "again"
    shutil.copytree(filled.folder, again)
    for name in ("summary.json", "state/part-0000.npz", "upsample.xtc"):
        (again / name).unlink()
    upsample(coarse, TOP, every="1ps", out=again, processes=1, resume=True)
    assert (again / "upsample.xtc").read_bytes() == filled.trajectory.read_bytes()


@pytest.mark.parametrize(
    ("every", "reason"),
    [("3ps", "no multiple of --every, 3 ps: try 2.5 ps"), ("5ps", "nothing is left to fill in"),
     ("0.5ps", "the path model knows frames 1 ps to 20 ps apart")],
)  # fmt: skip
def test_frames_that_do_not_fit_are_refused(coarse: Path, every: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        upsample(coarse, TOP, every=every, out=tmp_path / "run")
