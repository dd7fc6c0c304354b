"""report.png of a run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from latentmd.sampling.walkers.page import energy_limits, sampled, write_report
from latentmd.sampling.walkers.run_frames import read_run
from tests.sampling.walkers.test_run_frames import REFERENCE, run_folder


@pytest.mark.parametrize(
    ("name", "reference", "panels"),
    [("alanine_dipeptide", REFERENCE, 2), ("alanine_dipeptide", None, 2), ("met_enkephalin", None, 3)],
)
def test_every_residue_is_drawn(tmp_path: Path, name: str, reference: object, panels: int) -> None:
    folder = run_folder(tmp_path / "run", name)
    run = read_run(folder, reference, 350.0)  # type: ignore[arg-type]
    assert len(sampled(run)) == panels
    write_report(run, folder / "report.png")
    assert (folder / "report.png").read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in folder.iterdir()) == [
        "provenance.csv", "report.png", "topology.pdb", "walker-0000.xtc", "walker-0001.xtc",
    ]  # fmt: skip


def test_single_clashes_do_not_stretch_the_energies() -> None:
    energies = np.random.default_rng(0).normal(-80, 10, 1000)
    plain = energy_limits(energies, None)
    assert plain[0] <= energies.min() and plain[1] >= energies.max()
    energies[:30] = 1e5
    low, high = energy_limits(energies, None)
    assert low == pytest.approx(plain[0], abs=20) and high < 100
