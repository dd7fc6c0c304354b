"""The page of a run, from files such as `simulate` writes."""

from __future__ import annotations

import shutil
import subprocess
import sys

import mdtraj
import numpy as np

from latentmd.model.file import Ramachandran, Reference
from latentmd.sampling.rollout.page import write_simulation_page

PDB = "systems/molecules/alanine_dipeptide.pdb"


def _run_folder(folder):
    loaded = mdtraj.load(PDB)
    shutil.copy(PDB, folder / "topology.pdb")
    rng = np.random.default_rng(0)
    for walker in range(2):
        frames = loaded.xyz + rng.normal(0, 0.003, (60, *loaded.xyz.shape[1:]))
        trajectory = mdtraj.Trajectory(frames, loaded.topology, time=100.0 * np.arange(1, 61))
        trajectory.save_xtc(str(folder / f"walker-{walker:04d}.xtc"))
    lines = ["walker,time_ps,kind,potential_energy,checks_failed"]
    lines += [f"{w},{100 * (i + 1)},{'md' if i % 3 == 0 else 'latent'},-60.0," for w in range(2) for i in range(60)]
    (folder / "provenance.csv").write_text("\n".join(lines) + "\n")
    return folder


def _reference():
    counts = np.zeros((50, 50), dtype=int)
    counts[10:20, 30:45] = 7
    counts[30, 25] = 100
    return Reference(
        ramachandran=[Ramachandran(residue="ALA2", counts=counts.tolist())], energy_quantiles=(-80.0, -60.0, -40.0),
        frames=1000,
    )  # fmt: skip


def _page(folder, reference, **options):
    _run_folder(folder)
    return write_simulation_page(folder, sorted(folder.glob("*.xtc")), reference, 100.0, 350.0, **options)


def test_page_of_a_run_beside_the_models_reference(tmp_path):
    page = _page(tmp_path, _reference(), seconds=2.0).read_text()
    for text in ("JS distance, (phi, psi), ALA2", "population of phi &gt; 0, ALA2", "frames, all checks", "walker 0"):
        assert text in page
    assert "40 frames that an engine moved" in page and page.count("data:image/png") == 3


def test_page_of_plain_md_has_no_reference(tmp_path):
    page = _page(tmp_path, None).read_text()
    assert "JS distance" not in page and page.count("data:image/png") == 3


def test_page_needs_neither_torch_nor_deeptime(tmp_path):
    folder = _run_folder(tmp_path)
    code = (
        "import sys; from pathlib import Path; from latentmd.sampling.rollout.page import write_simulation_page;"
        f"f = Path({str(folder)!r}); write_simulation_page(f, sorted(f.glob('*.xtc')), None, 100.0, 350.0);"
        "print([m for m in ('torch', 'deeptime', 'lightning') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
