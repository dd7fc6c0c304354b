"""What a report shows of a molecule."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest

from latentmd.io.provenance import Provenance
from latentmd.io.writer import FrameWriter
from latentmd.model.file import Ramachandran, Reference
from latentmd.sampling.rollout.folder import OutputFolder
from latentmd.sampling.rollout.report import _limits, coordinates, write_report

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"


def load(name: str) -> mdtraj.Trajectory:
    return mdtraj.load(str(MOLECULES / f"{name}.pdb"))


@pytest.mark.parametrize(
    ("name", "residue"), [("alanine_dipeptide", "ALA2"), ("chignolin", "THR6"), ("trialanine", "ALA2")]
)
def test_the_middle_residue_with_both_torsions(name: str, residue: str) -> None:
    frame = load(name)
    chosen = coordinates(frame.topology)
    assert chosen.residue == residue
    number = [str(r) for r in frame.topology.residues].index(residue)
    phi_atoms, phi = mdtraj.compute_phi(frame)
    psi_atoms, psi = mdtraj.compute_psi(frame)
    a = [frame.topology.atom(q[1]).residue.index for q in phi_atoms].index(number)
    b = [frame.topology.atom(q[1]).residue.index for q in psi_atoms].index(number)
    expected = np.degrees([phi[0, a], psi[0, b]])
    assert chosen.values(frame.xyz)[0] == pytest.approx(expected, abs=1e-2)


def test_other_molecules_show_a_torsion_or_a_distance() -> None:
    frame = load("alanine_dipeptide")
    cap = frame.atom_slice(frame.topology.select("resid 0"))
    assert coordinates(cap.topology).names == ("distance CH3-O",)
    whole = frame.atom_slice(frame.topology.select("not name CA"))
    assert coordinates(whole.topology).names[0].startswith(("torsion", "distance"))


@pytest.mark.parametrize("with_reference", [True, False])
def test_report_is_drawn(tmp_path: Path, with_reference: bool) -> None:
    frame = load("alanine_dipeptide")
    folder = OutputFolder(tmp_path / "run")
    frame.save_pdb(str(folder.topology))
    provenance = Provenance(folder.provenance)
    rng = np.random.default_rng(0)
    for walker in range(2):
        times = 100.0 * np.arange(1, 21)
        with FrameWriter(folder.trajectory(walker)) as writer:
            writer.write(frame.xyz + rng.normal(scale=0.005, size=(20, 22, 3)), times)
        kinds = ["relaxed" if i % 10 == 9 else "latent" for i in range(20)]
        provenance.add(walker, zip(times, kinds, rng.normal(-80, 10, 20), [""] * 20, strict=True))
    provenance.close()
    counts = rng.integers(0, 50, (50, 50)).tolist()
    reference = Reference(
        ramachandran=[Ramachandran(residue="ALA2", counts=counts)], energy_quantiles=(-110.0, -75.0, -20.0)
    )
    path = write_report(folder, reference if with_reference else None, 100.0)
    assert path.read_bytes().startswith(b"\x89PNG")
    assert sorted(p.name for p in folder.path.iterdir()) == [
        ".lock", "provenance.csv", "report.png", "request.json", "topology.pdb", "walker-0000.xtc", "walker-0001.xtc",
    ]  # fmt: skip


def test_single_clashes_do_not_stretch_the_energies() -> None:
    energies = np.random.default_rng(0).normal(-80, 10, 1000)
    plain = _limits(energies, None)
    assert plain[0] <= energies.min() and plain[1] >= energies.max()
    energies[:30] = 1e5
    low, high = _limits(energies, None)
    assert low == pytest.approx(plain[0], abs=20) and high < 100
