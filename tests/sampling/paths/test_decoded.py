"""Structures of latent frames: sound, laid on the reference, with torsions as measured elsewhere."""

from __future__ import annotations

import dataclasses
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.sampling.paths.decoded import failed_checks, laid_on, path_file, structures


def test_structures_of_one_latent_keep_its_torsions(path_plan: Any, propagator: Any) -> None:
    import torch

    rng = np.random.default_rng(0)
    slow = torch.from_numpy(path_plan.chain.draw(2, 50, rng))
    made = structures(path_plan.subject, propagator, slow, rng)
    assert made.positions.shape == (50, 22, 3) and made.sound.mean() > 0.9
    phi = path_plan.subject.torsions(made.positions)[:, 0]
    assert (phi > 0).mean() > 0.9  # state 3 is the one with phi > 0


def test_structures_are_laid_on_the_reference(path_plan: Any) -> None:
    reference = path_plan.subject.reference
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert laid_on((reference @ turn.T + 1.5)[None], path_plan.subject)[0] == pytest.approx(reference, abs=1e-6)


def test_a_broken_bond_is_named(path_plan: Any, propagator: Any) -> None:
    whole = np.array(path_plan.subject.reference)
    broken = whole.copy()
    broken[0] += 0.3
    names = failed_checks(np.stack([whole, broken]), propagator)
    assert names[0] == "" and names[1] != ""


def test_torsions_agree_with_mdtraj(path_plan: Any, batches: Any) -> None:
    top = mdtraj.Topology.from_openmm(path_plan.subject.molecule.topology)
    path = mdtraj.load(str(path_file(path_plan.request.out, 0)), top=top)
    subject = dataclasses.replace(path_plan.subject)
    own, other = subject.torsions(path.xyz.astype(np.float64)), mdtraj.compute_dihedrals(path, subject.quads)
    assert np.abs(np.angle(np.exp(1j * (own - other)))).max() < 1e-3
    subject.__dict__["spec"] = dataclasses.replace(subject.spec, kind="distances")
    assert subject.torsions(path.xyz).shape == (4, 0) and subject.quads.shape == (0, 4)
