"""A batch of paths: seeded, sound, laid on the reference, with torsions as measured elsewhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.paths.batch import KINDS, draw_batch, failed_checks, laid_on, path_file, structures, torsions_of


def test_equal_seeds_give_equal_paths_and_others_differ(batches: Any, tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    draw_batch(dataclasses.replace(batches[1], folder=tmp_path / "same"))
    draw_batch(dataclasses.replace(batches[1], folder=tmp_path / "other", seed=6))
    first = path_file(batches[1].folder, 2).read_bytes()
    assert path_file(tmp_path / "same", 2).read_bytes() == first
    assert path_file(tmp_path / "other", 2).read_bytes() != first


def test_a_batch_says_how_its_frames_were_made(drawn: Any, path_plan: Any) -> None:
    assert drawn.kinds.shape == (4, 4) and set(drawn.kinds.ravel()) <= {0, 1}
    assert KINDS[:2] == ("latent", "relaxed")
    assert np.isfinite(drawn.energies).all() and (drawn.failed == "").all()
    assert (path_plan.chain.states[drawn.cells[:, 0]] == 0).all()
    assert (path_plan.chain.states[drawn.cells[:, -1]] == 2).all()


def test_structures_of_one_latent_keep_its_torsions(path_plan: Any, propagator: Any) -> None:
    import torch

    rng = np.random.default_rng(0)
    slow = torch.from_numpy(path_plan.chain.draw(2, 50, rng))
    made = structures(path_plan.frames, propagator, slow, rng)
    assert made["positions"].shape == (50, 22, 3) and made["sound"].mean() > 0.9
    phi = torsions_of(made["positions"], path_plan.frames.torsions)[:, 0]
    assert (phi > 0).mean() > 0.9  # state 3 is the one with phi > 0


def test_structures_are_laid_on_the_reference(path_plan: Any) -> None:
    reference = path_plan.frames.reference
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert laid_on((reference @ turn.T + 1.5)[None], path_plan.frames)[0] == pytest.approx(reference, abs=1e-6)


def test_a_broken_bond_is_named(path_plan: Any) -> None:
    whole = np.array(path_plan.frames.reference)
    broken = whole.copy()
    broken[0] += 0.3
    names = failed_checks(np.stack([whole, broken]), path_plan.frames.template)
    assert names[0] == "" and names[1] != ""


def test_torsions_agree_with_mdtraj(path_plan: Any, batches: Any) -> None:
    top = mdtraj.Topology.from_openmm(path_plan.subject.molecule.topology)
    path = mdtraj.load(str(path_file(batches[0].folder, 0)), top=top)
    quads = path_plan.frames.torsions
    own, other = torsions_of(path.xyz.astype(np.float64), quads), mdtraj.compute_dihedrals(path, quads)
    assert np.abs(np.angle(np.exp(1j * (own - other)))).max() < 1e-3
    assert torsions_of(path.xyz, np.zeros((0, 4), dtype=np.int64)).shape == (4, 0)
