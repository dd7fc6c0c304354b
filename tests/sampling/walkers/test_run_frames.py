"""What the report of a run is drawn from."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.io.provenance import Provenance
from latentmd.io.writer import FrameWriter
from latentmd.model.manifest import Ramachandran, Reference
from latentmd.sampling.walkers.folder import PROVENANCE, TOPOLOGY, trajectory_path
from latentmd.sampling.walkers.run_frames import describe, read_run

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"
COUNTS = np.random.default_rng(1).integers(1, 50, (50, 50)).tolist()
REFERENCE = Reference(
    ramachandran=[Ramachandran(residue="ALA2", counts=COUNTS)], energy_quantiles=(-110.0, -75.0, -20.0), frames=1000
)


def load(name: str) -> mdtraj.Trajectory:
    return mdtraj.load(str(MOLECULES / f"{name}.pdb"))


def run_folder(path: Path, name: str = "alanine_dipeptide", frames: int = 40, failed: str = "") -> Path:
    """A folder as a run of two walkers leaves it; the third frame of each is one that MD moved."""
    frame = load(name)
    path.mkdir()
    frame.save_pdb(str(path / TOPOLOGY))
    provenance = Provenance(path / PROVENANCE)
    rng = np.random.default_rng(0)
    for walker in range(2):
        times = 100.0 * np.arange(1, frames + 1)
        with FrameWriter(trajectory_path(path, walker)) as writer:
            writer.write(frame.xyz + rng.normal(scale=0.005, size=(frames, frame.n_atoms, 3)), times)
        kinds = ["md" if i == 2 else "latent" for i in range(frames)]
        checks = [failed if i == 0 else "" for i in range(frames)]
        provenance.add(walker, zip(times, kinds, rng.normal(-80, 10, frames), checks, strict=True))
    provenance.close()
    return path


@pytest.mark.parametrize(
    ("name", "residues"),
    [("alanine_dipeptide", ["ALA2"]), ("trialanine", ["ALA2"]), ("met_enkephalin", ["GLY2", "GLY3", "PHE4"])],
)
def test_every_residue_with_both_torsions(tmp_path: Path, name: str, residues: list[str]) -> None:
    run = read_run(run_folder(tmp_path / "run", name), None, 350.0)
    assert [run.residue(pair) for pair in run.spec.pairs] == residues and not run.maps


def test_torsions_are_those_of_mdtraj(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    run = read_run(folder, REFERENCE, 350.0)
    loaded = mdtraj.load(str(trajectory_path(folder, 1)), top=str(folder / TOPOLOGY))
    phi, psi = (torsion(loaded)[1][:, 0] for torsion in (mdtraj.compute_phi, mdtraj.compute_psi))
    np.testing.assert_allclose(run.runs[1], np.stack([phi, psi], axis=1), atol=1e-4)
    np.testing.assert_allclose(run.times[1], loaded.time)
    np.testing.assert_allclose(
        run.view[0][-1], mdtraj.load(str(trajectory_path(folder, 0)), top=str(folder / TOPOLOGY)).xyz[-1]
    )
    assert run.bounds == (-110.0, -20.0) and run.maps[run.spec.pairs[0]].tolist() == COUNTS


def test_the_slowest_torsion_has_the_fewest_effective_samples(tmp_path: Path) -> None:
    run = read_run(run_folder(tmp_path / "run", "met_enkephalin"), None, 350.0)
    assert run.effective is not None and run.effective[run.slowest[0]] == run.effective.min()
    short = read_run(run_folder(tmp_path / "short", frames=5), None, 350.0)
    assert short.effective is None and short.slowest == [0, 1]


def test_other_molecules_are_described_by_a_torsion_or_a_distance() -> None:
    frame = load("alanine_dipeptide")
    cap = frame.atom_slice(frame.topology.select("resid 0"))
    assert describe(cap.topology).names == ("distance CH3-O",)
    whole = frame.atom_slice(frame.topology.select("not name CA"))
    assert describe(whole.topology).names[0].startswith(("torsion", "distance"))


def test_an_empty_trajectory_is_left_out(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run")
    trajectory_path(folder, 1).write_bytes(b"")
    assert len(read_run(folder, None, 350.0).runs) == 1
