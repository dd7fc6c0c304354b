"""The tilted step: the law of what it does to the rollouts of a reversible step, limits, and TorchScript."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from latentmd.core.steps.tilt import Tilt, choose
from latentmd.model.file import script

Matrix = NDArray[np.float64]
STATES, GRID = 4, 4000


def reversible() -> tuple[Matrix, Matrix]:
    """A transition matrix with detailed balance that keeps half of what it knows, and its stationary density."""
    counts = np.random.default_rng(0).uniform(0.5, 2.0, (STATES, STATES))
    counts = counts + counts.T + 4 * np.eye(STATES)
    return counts / counts.sum(1, keepdims=True), counts.sum(1) / counts.sum()


def stationary(matrix: Matrix) -> Matrix:
    values, vectors = np.linalg.eig(matrix.T)
    found = np.real(vectors[:, np.argmax(np.real(values))])
    return found / found.sum()


def tilted(matrix: Matrix, log_weights: Matrix, proposals: int) -> Matrix:
    """The matrix of the step that `choose` makes of proposals, summed over all of them and a grid of numbers."""
    out, uniform = np.zeros_like(matrix), (torch.arange(GRID) + 0.5) / GRID
    for drawn in np.ndindex(*[STATES] * proposals):
        weights = torch.tensor(log_weights[list(drawn)], dtype=torch.float32).unsqueeze(1).expand(-1, GRID)
        taken = np.bincount(np.array(drawn)[choose(weights, uniform).numpy()], minlength=STATES) / GRID
        out += np.prod(matrix[:, drawn], axis=1)[:, None] * taken
    return out


@pytest.mark.parametrize("proposals", [2, 3])
def test_a_tilt_multiplies_the_density_of_rollouts_to_first_order(proposals: int) -> None:
    """ln of the ratio of densities is (1 − 1/K)(1 + P) ln w, up to a constant."""
    matrix, density = reversible()
    log_w = 0.05 * np.array([1.0, -1.0, 0.5, -0.2])
    found = np.log(stationary(tilted(matrix, log_w, proposals)) / density)
    expected = (1 - 1 / proposals) * (log_w + matrix @ log_w)
    np.testing.assert_allclose(found - found.mean(), expected - expected.mean(), atol=2e-3)
    assert np.abs(expected - expected.mean()).max() > 0.03


def test_one_proposal_is_the_plain_step() -> None:
    matrix, _ = reversible()
    np.testing.assert_allclose(tilted(matrix, np.array([2.0, -2.0, 1.0, 0.0]), 1), matrix, atol=1e-12)


def test_proposals_are_taken_by_their_weights() -> None:
    log_weights = torch.tensor([0.0, 1.0, -1.0]).unsqueeze(1).expand(-1, GRID)
    taken = choose(log_weights, (torch.arange(GRID) + 0.5) / GRID).bincount(minlength=3) / GRID
    assert torch.allclose(taken, torch.softmax(torch.tensor([0.0, 1.0, -1.0]), 0), atol=1e-3)


def _angles(batch: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Torsions of a chain of three tokens, of which one lacks its second torsion; and the mask."""
    mask = torch.ones(3, 2, dtype=torch.bool)
    mask[2, 1] = False
    return torch.rand(batch, 3, 2, generator=torch.Generator().manual_seed(1)) * 6 - 3, mask


def _random(mask: torch.Tensor, proposals: int, limit: float) -> Tilt:
    torch.manual_seed(0)
    tilt = Tilt(mask, proposals, 16, limit).requires_grad_(False)
    for parameter in tilt.parameters():
        torch.nn.init.normal_(parameter)
    return tilt


def test_weights_begin_at_one_and_have_a_limit() -> None:
    angles, mask = _angles(200)
    assert torch.equal(Tilt(mask)(angles), torch.zeros(200))
    found = _random(mask, 2, 0.5)(angles)
    assert float(found.std()) > 0.1 and float(found.abs().max()) <= 0.5


def test_what_does_not_exist_changes_no_weight() -> None:
    angles, mask = _angles(20)
    tilt = _random(mask, 2, 2.0)
    assert torch.equal(tilt(angles), tilt(angles + (~mask).float()))
    assert not torch.equal(tilt(angles), tilt(angles + 0.1))


def test_a_scripted_tilt_takes_the_same_proposals() -> None:
    angles, mask = _angles(60)
    tilt, uniform = _random(mask, 3, 2.0), torch.rand(20, generator=torch.Generator().manual_seed(2))
    taken = tilt.chosen(angles, uniform)
    assert torch.equal(script(tilt).chosen(angles, uniform), taken)
    rows = angles.reshape(3, 20, 3, 2)
    assert all(any(torch.equal(rows[p, k], taken[k]) for p in range(3)) for k in range(20))
    assert not torch.equal(taken, rows[0])
