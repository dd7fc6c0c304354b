"""What holds for every world: shapes, seeds, trajectories of their own, errors that name what exists."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.systems.toy.world import SIZE, WORLDS, Canvas, World, WorldError, frame_stack, world

SMALL = [name for name in WORLDS if name != "argon"]  # argon has a test of its own: it takes seconds
FRAMES = 6


@pytest.fixture(scope="module")
def simulated() -> dict[str, tuple[World, Any]]:
    return {name: (world(name), world(name).simulate(3, FRAMES, 7)) for name in SMALL}


@pytest.mark.parametrize("name", WORLDS)
def test_a_world_describes_itself(name: str) -> None:
    found = world(name)
    assert found.name == name and found.units
    assert found.interval > 0
    assert set(found.history) == set(found.observations) and found.observations


@pytest.mark.parametrize("name", SMALL)
def test_shapes(name: str, simulated: dict[str, tuple[World, Any]]) -> None:
    found, states = simulated[name]
    assert states.shape[:2] == (3, FRAMES) and states.dtype == np.float64
    assert np.isfinite(states).all()
    assert found.energy(states).shape == (3, FRAMES)
    for how in found.observations:
        seen = found.observe(states, how)
        assert seen.shape[:2] == (3, FRAMES) and seen.dtype == np.float32
        np.testing.assert_allclose(found.observe(states[1, 2], how), seen[1, 2], atol=1e-6)
        if how == "pixels":
            assert seen.shape == (3, FRAMES, 64, 64)
            assert seen.min() == 0 and 0.9 < seen.max() <= 1
    for values in found.probes(states).values():
        assert values.shape[:2] == (3, FRAMES) and values.ndim in (3, 4)


@pytest.mark.parametrize("name", SMALL)
def test_a_seed_repeats_and_trajectories_do_not_depend_on_their_number(
    name: str, simulated: dict[str, tuple[World, Any]]
) -> None:
    found, states = simulated[name]
    np.testing.assert_allclose(found.simulate(2, FRAMES, 7), states[:2], rtol=0, atol=1e-9)
    other = found.simulate(1, FRAMES, 8)
    assert np.abs(other[0] - states[0]).max() > 1e-3
    assert np.abs(states[1] - states[0]).max() > 1e-3


@pytest.mark.parametrize("name", SMALL)
def test_a_longer_trajectory_begins_with_the_shorter(name: str, simulated: dict[str, tuple[World, Any]]) -> None:
    if name in ("circles", "lines"):
        pytest.skip("lines are laid about the middle of the trajectory; noise is drawn for all frames")
    found, states = simulated[name]
    np.testing.assert_allclose(found.simulate(1, FRAMES + 3, 7)[0, :FRAMES], states[0], rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", WORLDS)
def test_an_unknown_observation_is_refused(name: str) -> None:
    with pytest.raises(WorldError, match=f"{name} cannot be observed as 'sound'; .*{world(name).observations[0]}"):
        world(name).observe(np.zeros((1, 32, 8)), "sound")


def test_an_unknown_world_is_refused_with_the_nearest() -> None:
    with pytest.raises(WorldError, match="did you mean 'double-pendulum'"):
        world("doublependulum")
    with pytest.raises(WorldError, match=r"[Ee]xpected one of double-pendulum, circles"):
        world("zzz")


def test_frame_stack_is_oldest_first_and_takes_no_memory() -> None:
    frames = np.arange(2 * 5 * 3.0).reshape(2, 5, 3)
    stacked = frame_stack(frames, 2)
    assert stacked.shape == (2, 4, 2, 3)
    np.testing.assert_array_equal(stacked[:, :, 0], frames[:, :-1])
    np.testing.assert_array_equal(stacked[:, :, 1], frames[:, 1:])
    assert np.shares_memory(stacked, frames)
    assert frame_stack(frames, 1) is frames
    with pytest.raises(WorldError, match="history of 6 frames was asked of 5"):
        frame_stack(frames, 6)


def test_a_disc_covers_its_area() -> None:
    canvas = Canvas(1, (0.0, 0.0), 1.0)
    canvas.disc(np.array([[0.1, -0.2]]), 0.4, 0.5)
    assert canvas.picture.max() == pytest.approx(0.5)
    assert canvas.picture.sum() * (2 / SIZE) ** 2 == pytest.approx(0.5 * np.pi * 0.4**2, rel=0.01)


def test_a_rod_covers_its_area_and_the_brightest_shape_shows() -> None:
    canvas = Canvas(1, (0.0, 0.0), 1.0)
    canvas.rod(np.array([[-0.5, 0.0]]), np.array([[0.5, 0.0]]), 0.1)
    area = canvas.picture.sum() * (2 / SIZE) ** 2
    assert area == pytest.approx(1.0 * 0.2 + np.pi * 0.1**2, rel=0.03)  # round ends
    canvas.disc(np.array([[0.0, 0.0]]), 0.05, 0.3)
    assert canvas.picture.sum() * (2 / SIZE) ** 2 == pytest.approx(area)


def test_up_is_row_zero() -> None:
    canvas = Canvas(1, (0.0, 0.0), 1.0)
    canvas.disc(np.array([[0.0, 0.8]]), 0.1)
    assert canvas.picture[0, : SIZE // 2].sum() > 0 == canvas.picture[0, SIZE // 2 :].sum()
