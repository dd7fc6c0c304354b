"""Windows: every interval once, and frames of a process whose bridge is known."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor

from latentmd.sampling.paths.windows import fill_windows, windows


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
