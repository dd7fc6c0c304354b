"""Local geometry by residue type: what was put in comes out, for L and D residues alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.decoders.residues import ResidueDecoder, ResidueStatistics, internal_vector
from latentmd.molecule.chain import Chain, chain

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "met_enkephalin.pdb"


def _frames(mirror: bool) -> tuple[Chain, Tensor, Tensor]:
    """A chain, frames with all torsions turned at random and noisy bonds and angles, and their slots' torsions."""
    from openmm.app import PDBFile

    pdb = PDBFile(str(PDB))
    x = np.asarray(pdb.getPositions(asNumpy=True)._value) * (np.array([1.0, 1.0, -1.0]) if mirror else 1.0)
    found, generator = chain(pdb.topology, x), torch.Generator().manual_seed(0)
    coordinates = InternalCoordinates(list(found.record.labels), found.layout)
    bonds, bends, torsions = (
        v.repeat(600, 1) for v in coordinates.to_internal(torch.from_numpy(x).float().unsqueeze(0))
    )
    bonds = bonds + 0.002 * torch.randn(bonds.shape, generator=generator)
    bends = bends + 0.03 * torch.randn(bends.shape, generator=generator)
    column = torch.from_numpy(found.slots[found.mask])
    turned = 2 * np.pi * torch.rand(600, len(column), generator=generator) - np.pi
    torsions = torsions.index_copy(1, column, turned)
    angles = torch.zeros(600, *found.mask.shape)
    angles[:, torch.from_numpy(found.mask)] = turned
    return found, coordinates.to_cartesian(bonds, bends, torsions), angles


def _table(found: Chain, positions: Tensor, angles: Tensor) -> dict[str, dict[str, Tensor]]:
    statistics = ResidueStatistics()
    coordinates = InternalCoordinates(list(found.record.labels), found.layout)
    statistics.add(found, internal_vector(coordinates, positions), angles)
    return statistics.table()


def _distances(positions: Tensor) -> Tensor:
    return torch.cdist(positions, positions)


@pytest.mark.parametrize("mirror", [False, True])
def test_the_mean_geometry_and_its_spread_come_back(mirror: bool) -> None:
    found, positions, angles = _frames(mirror)
    decoder = ResidueDecoder(found, _table(found, positions, angles))
    assert torch.allclose(
        torch.remainder(decoder.angles(positions) - angles + 1, 2 * np.pi) * decoder.mask, decoder.mask + 0.0, atol=2e-3
    )
    still = decoder(angles, torch.zeros(600, decoder.noise_size))
    assert float((_distances(still) - _distances(positions)).abs().mean()) < 0.02
    noisy = decoder(angles, torch.randn(600, decoder.noise_size, generator=torch.Generator().manual_seed(1)))
    bonds = torch.tensor(found.record.bonds)
    spread = _distances(noisy)[:, bonds[:, 0], bonds[:, 1]].std(0).mean()
    assert float(spread) == pytest.approx(0.002, rel=0.2)


def test_a_table_of_l_residues_builds_d_residues() -> None:
    found, positions, angles = _frames(mirror=False)
    table = _table(found, positions, angles)
    mirrored, _, _ = _frames(mirror=True)
    noise = torch.randn(600, ResidueDecoder(found, table).noise_size, generator=torch.Generator().manual_seed(2))
    left, right = ResidueDecoder(found, table), ResidueDecoder(mirrored, table)
    glycine = [k for k, name in enumerate(mirrored.names) if name == "GLY"]
    assert glycine and mirrored.types[[k for k in range(5) if k not in glycine], 2].all()
    for token in (0, 3, 4):
        atoms = [i for i, r in enumerate(found.record.residue_index) if r == token]
        d = (_distances(left(angles, noise)[:, atoms]) - _distances(right(-angles, noise)[:, atoms])).abs()
        assert float(d.max()) < 1e-3


def test_an_unknown_residue_is_named() -> None:
    found, positions, angles = _frames(mirror=False)
    table = _table(found, positions, angles)
    del table[found.templates[3]]
    with pytest.raises(KeyError, match="PHE inner"):
        ResidueDecoder(found, table)
