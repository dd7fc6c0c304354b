"""Lagged windows: bounds, lag distribution, seeds, bad input."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from latentmd.training.windows import LaggedWindows, random_masks


def counters(*lengths: int) -> list[np.ndarray]:
    """Trajectories whose frames tell their trajectory and index: [frames, 2]."""
    return [np.stack([np.full(n, k), np.arange(n)], axis=1).astype(np.float32) for k, n in enumerate(lengths)]


def test_windows_stay_in_one_trajectory_at_one_lag() -> None:
    windows = LaggedWindows(counters(50, 200, 30), (2, 15), steps=3)
    frames, lag = windows.sample(4000, torch.Generator().manual_seed(0))
    assert len(frames) == 4
    stacked = torch.stack(frames)
    assert (stacked[:, :, 0] == stacked[0, :, 0]).all()
    assert torch.equal(stacked[1:, :, 1] - stacked[:-1, :, 1], lag.expand(3, -1))
    assert (lag.min(), lag.max()) == (2, 15)
    assert set(stacked[0, :, 0].tolist()) == {0, 1, 2}


def test_start_frames_are_uniform() -> None:
    windows = LaggedWindows(counters(11, 31), (1, 1))
    (start, _), _ = windows.sample(40_000, torch.Generator().manual_seed(1))
    cells = torch.bincount((start[:, 0] * 10 + start[:, 1]).long(), minlength=40).double()
    chi_squared = float(((cells - 1000).square() / 1000).sum())
    assert chi_squared < 72.1  # 99.9 % point of chi squared with 39 degrees of freedom


def test_lag_is_log_uniform() -> None:
    windows = LaggedWindows(counters(5000), (10, 1000))
    lag = windows.sample(20_000, torch.Generator().manual_seed(2)).lag
    share = (lag < 100).double().mean()
    assert abs(float(share) - 0.5) < 0.02


def test_the_seed_repeats() -> None:
    windows = LaggedWindows(counters(100, 60), (1.0, 7.5), steps=2)
    one, two = (windows.sample(32, torch.Generator().manual_seed(3)) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one.frames, two.frames, strict=True))
    assert torch.equal(one.lag, two.lag)


def test_memory_maps(tmp_path: object) -> None:
    path = f"{tmp_path}/a.npy"
    np.save(path, counters(40)[0])
    windows = LaggedWindows([np.load(path, mmap_mode="r")], (1, 3))
    (now, later), lag = windows.sample(16, torch.Generator().manual_seed(4))
    assert torch.equal(later[:, 1] - now[:, 1], lag)


@pytest.mark.parametrize(
    "lengths, lag, steps, message",
    [
        ((), (1, 2), 1, "found none"),
        ((10,), (1, 2), 0, "at least 1 step"),
        ((10,), (1.2, 1.8), 1, "No whole number"),
        ((10, 13), (2, 5), 3, "more than 15 frames; the longest trajectory has 13"),
    ],
)
def test_bad_input(lengths: tuple[int, ...], lag: tuple[float, float], steps: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        LaggedWindows(counters(*lengths), lag, steps)


def test_frames_of_another_shape_are_refused() -> None:
    with pytest.raises(ValueError, match="one shape"):
        LaggedWindows([np.zeros((9, 2)), np.zeros((9, 3))], (1, 2))


def test_something_is_known_and_something_is_not() -> None:
    for tokens in (1, 3):
        masks = random_masks(500, 16, tokens, torch.Generator().manual_seed(0)).flatten(1)
        assert bool(masks.any(dim=1).all()) and not bool(masks.all(dim=1).any())


def test_each_task_has_its_share() -> None:
    masks = random_masks(2000, 21, 1, torch.Generator().manual_seed(1))[:, :, 0]
    ends = masks[:, 0] & masks[:, -1] & (masks.sum(dim=1) == 2)
    leading = masks[:, 0] & ~masks[:, 4:].any(dim=1)
    assert 0.2 < float(ends.float().mean()) < 0.35  # paths, and a few strides of 20
    assert 0.2 < float(leading.float().mean()) < 0.35


def test_whole_tokens_are_hidden_where_there_are_several() -> None:
    masks = random_masks(2000, 8, 4, torch.Generator().manual_seed(2))
    constant = (masks == masks[:, :1]).all(dim=1).all(dim=1)
    assert 0.1 < float(constant.float().mean()) < 0.3


def test_masks_follow_from_the_generator() -> None:
    first, second = (random_masks(10, 8, 2, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(first, second)
