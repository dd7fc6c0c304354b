"""Torsions of many peptides in memory: what is read is what was stored, and batches are pairs a lag apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from latentmd.molecule.chain import SLOTS, chain
from latentmd.training.peptides.data import TURN, Peptides, Sampler, collect, read
from latentmd.training.peptides.dataset import find_molecules, read_molecule

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def peptides(peptide_dataset: Path) -> Peptides:
    return read(map(read_molecule, find_molecules(peptide_dataset)), CPU)


def test_peptides_stand_in_groups_of_one_length(peptides: Peptides) -> None:
    assert peptides.count == 4 and peptides.n_frames == 4 * 48 and peptides.interval == 10.0
    assert list(peptides.groups) == [3]
    group = peptides.groups[3]
    assert (
        group.start.tolist() == [0, 48, 96, 144]
        and group.lanes.tolist() == [2] * 4
        and group.frames.tolist() == [24] * 4
    )


def test_torsions_are_those_of_the_structures(peptide_dataset: Path, peptides: Peptides) -> None:
    import mdtraj

    folder = peptide_dataset / "valine_dipeptide"
    run = mdtraj.load(str(folder / "walker-0000.xtc"), top=str(folder / "topology.pdb"))
    phi, psi = mdtraj.compute_phi(run)[1][:, 0], mdtraj.compute_psi(run)[1][:, 0]
    group = peptides.groups[3]
    start = int(group.start[group.names.index("valine_dipeptide")])
    mine = group.angles[start : start + 24].float().numpy() / TURN
    for slot, expected in (("phi", phi), ("psi", psi)):
        difference = np.angle(np.exp(1j * (mine[:, 1, SLOTS.index(slot)] - expected)))
        assert np.abs(difference).max() < 0.03  # stored in picometres


def _counting(lanes: int, frames: int) -> Peptides:
    """One peptide whose torsions count frames, 100 units a frame, and 10000 a lane."""
    from openmm.app import PDBFile

    from latentmd.systems.bundled import bundled

    pdb = PDBFile(str(bundled("alanine_dipeptide")))
    found = chain(pdb.topology, np.asarray(pdb.getPositions(asNumpy=True)._value))
    count = 100 * torch.arange(frames).reshape(1, -1, 1, 1) + 10000 * torch.arange(lanes).reshape(-1, 1, 1, 1)
    return collect([("a", found, count.expand(-1, -1, *found.mask.shape).to(torch.int16))], 10.0)


def test_a_pair_is_a_lag_apart_in_one_run() -> None:
    batch = Sampler(_counting(3, 30), 100.0).draw(4, 500, torch.Generator().manual_seed(1))
    now, later = ((x[:, 0, 0] * TURN).round() for x in (batch.now, batch.later))
    assert torch.equal(later - now, 10 * batch.lag)
    assert torch.equal((now / 10000).floor(), (later / 10000).floor())
    assert batch.lag.min() == 10 and batch.lag.max() == 100 and batch.types.shape[0] == 2000


def test_equal_seeds_give_equal_batches() -> None:
    peptides = _counting(2, 20)
    batch, again = (Sampler(peptides, 50.0).draw(2, 200, torch.Generator().manual_seed(2)) for _ in range(2))
    assert torch.equal(batch.now, again.now) and torch.equal(batch.lag, again.lag)


def test_a_lag_never_passes_the_end_of_a_run() -> None:
    batch = Sampler(_counting(1, 3), 1000.0).draw(1, 200, torch.Generator().manual_seed(3))
    assert set(batch.lag.tolist()) == {10.0, 20.0}
