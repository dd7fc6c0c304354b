"""Closures of a gap: they close it, and the torsions that the missing residues had are among them."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from latentmd.molecule.closure import _ANGLES, _LENGTHS, _placed, closures
from latentmd.molecule.geometry import wrap


def _backbone(start: Tensor, torsions: Tensor) -> Tensor:
    """N, CA and C of the residue after a gap, in mean lengths and angles, [3, 3]."""
    atoms = list(start)
    for k, torsion in enumerate(torsions):
        atoms.append(_placed(atoms[-3:], _LENGTHS[k % 3], torch.tensor(math.radians(_ANGLES[k % 3])), torsion))
    return torch.stack(atoms[-3:])


@pytest.mark.parametrize(("missing", "inner"), [(1, [(-75, 140)]), (1, [(60, 40)]), (2, [(-120, 130), (-70, -35)])])
def test_the_torsions_that_were_there_are_among_the_closures(missing: int, inner: list[tuple[int, int]]) -> None:
    torsions = [150.0] + [x for phi, psi in inner for x in (180.0, phi, psi)] + [180.0, -80.0]
    truth = torch.tensor(torsions).deg2rad()
    start = torch.tensor([[0.0, 0.0, 0.0], [0.1455, 0.0, 0.0], [0.2, 0.14, 0.0]])
    end = _backbone(start, truth)
    generator = torch.Generator().manual_seed(0)
    drawn = closures(start[None], end[None], truth[:1], truth[-1:], missing=missing, draws=64, generator=generator)
    assert drawn.shape == (1, 64, 3 * missing + 3)
    away = wrap(drawn[0] - truth).abs()
    assert float(away[:, 1::3].mean()) < math.radians(15)  # omegas stay near 180
    assert float(away.amax(dim=1).min()) < math.radians(25)
    gaps = torch.stack([(_backbone(start, t) - end).norm(dim=1).amax() for t in drawn[0]])
    assert float(gaps.median()) < 0.15  # angles, which are drawn too, make up for the rest


def test_equal_numbers_make_equal_closures() -> None:
    start = torch.tensor([[[0.0, 0.0, 0.0], [0.1455, 0.0, 0.0], [0.2, 0.14, 0.0]]])
    end, told = start + torch.tensor([0.35, 0.45, 0.1]), torch.zeros(1)
    one, two = (
        closures(start, end, told, told, missing=1, draws=4, generator=torch.Generator().manual_seed(3))
        for _ in range(2)
    )
    assert torch.equal(one, two) and bool(torch.isfinite(one).all())
