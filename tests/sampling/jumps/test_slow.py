"""Slow torsions: what a pilot says of them, and which blocks jump."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.sampling.jumps.slow import biased_blocks, changes, slow_blocks, thirds, turning
from latentmd.sampling.metropolis.wells import Turn, Well

PHI, PSI, CHI, RING = Turn("phi ALA2", 0), Turn("psi ALA2", 1), Turn("chi1 SER3", 2), Turn("C1-C2", 3, ring=True)
KNOWN = [
    Well("phi left", PHI, -180, 0, -80), Well("phi right", PHI, 0, 180, 60),
    Well("psi up", PSI, 60, 260, 150), Well("psi down", PSI, -100, 60, -20), Well("chi", CHI, -180, 180, 60),
]  # fmt: skip
QUADS = np.arange(16).reshape(4, 4)


def _angles(frames: int = 500) -> np.ndarray:
    """phi and chi stay; psi turns every 50 frames; the ring stays."""
    psi = np.where(np.arange(frames) // 50 % 2, -20.0, 150.0)
    fixed = np.full(frames, -80.0)
    return np.deg2rad(np.stack([fixed, psi, fixed, fixed], axis=1))


def _slow(found: dict[str, tuple[bool, str]]) -> dict[str, bool]:
    return {name: slow for name, (slow, _) in found.items()}


def test_recrossings_of_a_border_are_no_changes() -> None:
    degrees = np.array([-80, -5, 5, -5, 5, -80, 60, 10, -10, 55, -70.0])
    assert changes(PHI, KNOWN[:2], np.deg2rad(degrees)[:, None]) == 2


@pytest.mark.parametrize(("time", "slow"), [(500.0, ["phi ALA2"]), (2500.0, ["phi ALA2", "psi ALA2"])])
def test_slow_is_what_md_turns_less_than_once_in_100_ps(time: float, slow: list[str]) -> None:
    found = turning([PHI, PSI, CHI, RING], KNOWN, _angles(), time)
    assert [name for name, (is_slow, _) in found.items() if is_slow] == slow  # chi has one well, the ring cannot jump
    assert found["phi ALA2"][1] == f"0 changes of well in {time:g} ps: slow"
    assert found["psi ALA2"][1].startswith("9 changes") and "one well" in found["chi1 SER3"][1]


def test_without_samples_every_torsion_has_three_wells() -> None:
    assert [well.inside(np.deg2rad([[70.0]])).item() for well in thirds(PHI)] == [True, False, False]
    found = turning([PHI, CHI], [], _angles(), 100.0)
    assert [slow for slow, _ in found.values()] == [True, True]


def test_phi_and_psi_jump_together_and_psi_anywhere_where_md_turns_it() -> None:
    found = turning([PHI, PSI, CHI], KNOWN, _angles(), 500.0)
    samples = np.random.default_rng(0).uniform(-np.pi, np.pi, (300, 3))
    (block,) = slow_blocks([PHI, PSI, CHI], QUADS, _slow(found), samples)
    assert block.name == "ALA2" and block.quads.tolist() == QUADS[:2].tolist()
    rng, here = np.random.default_rng(1), np.deg2rad([-80.0, 150.0])
    away = np.array([block.table.draw(here, rng) - here for _ in range(200)])
    away = np.abs(np.rad2deg((away + np.pi) % (2 * np.pi) - np.pi))
    assert away[:, 0].min() > 90 and away[:, 1].min() < 20


def test_single_bonds_jump_alone_and_uniformly_without_samples() -> None:
    found = turning([PSI, CHI], [], _angles(), 2500.0)
    blocks = slow_blocks([PSI, CHI], QUADS, _slow(found), None)
    assert [block.name for block in blocks] == ["psi ALA2", "chi1 SER3"]
    assert all(np.ptp(block.table.weights) == 0 and block.table.torsions == 1 for block in blocks)


def test_the_more_torsions_are_biased_the_higher_the_bias_begins() -> None:
    rng = np.random.default_rng(0)
    turns = [Turn(f"chi{i} SER3", i) for i in range(8)]
    samples = np.where(rng.random((4000, 8)) < 0.9, -1.0, 1.0) + 0.2 * rng.normal(size=(4000, 8))
    quads = np.arange(32).reshape(8, 4)
    levels = []
    for count in (1, 4, 8):
        slow = {turn.name: i < count for i, turn in enumerate(turns)}
        blocks, above = biased_blocks(turns, quads, slow, samples)
        assert [block.name for block in blocks] == [turn.name for turn in turns[:count]]
        assert np.isclose(blocks[0].table.weights[0], blocks[0].table.weights.min(), rtol=0.5)
        levels.append(above)
    assert levels == sorted(levels) and levels[0] == 1.0 and levels[-1] > 1.0
    assert biased_blocks(turns, quads, {turn.name: False for turn in turns}, samples)[0] == []


def test_phi_and_psi_are_biased_in_their_plane() -> None:
    (block,), _ = biased_blocks((PHI, PSI), QUADS, {"phi ALA2": True, "psi ALA2": False}, _angles())
    assert block.name == "ALA2" and block.quads.tolist() == QUADS[:2].tolist() and block.table.weights.ndim == 2
