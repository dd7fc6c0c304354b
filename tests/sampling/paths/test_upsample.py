"""Upsampling with the bundled model: given frames stay, the others are sound and near them, resume repeats."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.molecule.checks import aligned_rmsd, torsions
from latentmd.sampling.paths.upsample import fill_windows, upsample, windows

TOP = Path(__file__).parents[3] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="module")
def coarse(tmp_path_factory: pytest.TempPathFactory, chain: Any, propagator: Any) -> Path:
    """Nine frames 5 ps apart of a made trajectory."""
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


@pytest.mark.parametrize(("known", "most"), [(2, 6), (3, 1), (4, 6), (7, 6), (8, 6), (50, 6), (50, 3), (11, 2)])
def test_every_interval_is_kept_once(known: int, most: int) -> None:
    plan = windows(known, most)
    assert plan[0].keep[0] == 0 and plan[-1].keep[1] == known - 1
    assert all(a.keep[1] == b.keep[0] for a, b in pairwise(plan))
    for window in plan:
        assert window.first <= window.keep[0] < window.keep[1] <= window.first + window.intervals <= known - 1
        assert window.intervals == min(most, known - 1)


class _Linear:
    """Fills in straight lines between the known frames."""

    window = 16

    def sample(self, known: Tensor, mask: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        result = known.clone()
        for row, given in zip(result, mask, strict=True):
            places = torch.nonzero(given[:, 0]).flatten().tolist()
            for a, b in pairwise(places):
                share = torch.linspace(0, 1, b - a + 1).reshape(-1, 1, 1)
                row[a : b + 1] = row[a] + share * (row[b] - row[a])
        return result


def test_frames_end_up_where_they_belong() -> None:
    known = torch.randn(23, 1, 2, generator=torch.Generator().manual_seed(0))
    filled = fill_windows(_Linear(), known, 5, 1.0, torch.Generator())  # type: ignore[arg-type]
    assert filled.shape == (111, 1, 2) and torch.equal(filled[::5], known)
    assert torch.allclose(filled[5 * 7 + 2], known[7] + 0.4 * (known[8] - known[7]), atol=1e-6)
    assert torch.allclose(filled[-2], known[-2] + 0.8 * (known[-1] - known[-2]), atol=1e-6)
