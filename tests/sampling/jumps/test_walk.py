"""A walk begins a segment afresh, so that the same place and seed give the same frames and jumps."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.integrators.torsion_blocks import backbone_blocks
from latentmd.sampling.jumps.walk import Stint, Walk
from latentmd.sampling.run.preparation import Prepared
from latentmd.systems.builder import InputOptions, Protocol, build
from latentmd.systems.bundled import bundled
from latentmd.systems.sanity import in_nm


@pytest.fixture(scope="module")
def walk() -> Walk:
    source = bundled("alanine_dipeptide")
    inputs = InputOptions(box="cube", padding=0.65)
    molecule = build(source, Protocol("explicit", temperature=300.0, inputs=inputs))
    prepared = Prepared(molecule, source, in_nm(molecule.positions), "CPU", threads=1, rate=1.0)
    made = Walk(prepared, np.arange(22), backbone_blocks(molecule.topology, range(22)), seed=3)
    assert made.jumps is not None
    made.jumps.length = 0.08
    assert made.equilibrate(prepared.reference, 1, 40, lambda: False)
    return made


def test_a_segment_is_repeated_to_the_last_bit(walk: Walk) -> None:
    start, kept = walk.place(), []
    assert walk.jumps is not None
    state = walk.jumps.state()
    for _ in range(2):
        walk.begin(start, 5)
        walk.jumps.set_state(state)
        piece = Stint()
        walk.move(piece, 0.04, whole=True)
        walk.jump(piece)
        walk.move(piece, 0.04)
        kept.append((piece, walk.place()))
    (first, end), (second, again) = kept
    assert first.jumps == second.jumps and first.steps == second.steps == 40
    np.testing.assert_array_equal(first.positions, second.positions)
    for name in ("positions", "velocities", "box"):
        np.testing.assert_array_equal(end[name], again[name])
    assert first.positions[0].shape == (22, 3) and len(first.whole) == len(first.boxes) == 1
    assert not np.array_equal(start["positions"], end["positions"])


def test_another_seed_gives_other_frames(walk: Walk) -> None:
    start, found = walk.place(), []
    for seed in (5, 6):
        walk.begin(start, seed)
        piece = Stint()
        walk.move(piece, 0.04)
        found.append(piece.positions[0])
    assert not np.array_equal(*found)
