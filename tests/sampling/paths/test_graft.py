"""Grafting: given atoms stay where they are, the rest is joined to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from latentmd.sampling.paths.graft import Graft, known_atoms, superposed


def _rest(alanine: Any) -> Any:
    return np.asarray(alanine.positions._value, dtype=np.float64)


def test_known_atoms_are_those_of_the_other_residues(alanine: Any) -> None:
    known, heavy = known_atoms(alanine.topology, np.array([False, True, False]))
    names = [atom.residue.name for atom in alanine.topology.atoms()]
    assert {names[i] for i in known} == {"ACE", "NME"} and len(known) == 12
    assert len(heavy) == 5 and set(heavy) <= set(known)


def test_superposition_undoes_a_rotation(alanine: Any) -> None:
    rest = _rest(alanine)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    known = np.arange(5)
    back = superposed((rest @ turn.T + 0.3)[None], rest[None], known)
    assert back[0] == pytest.approx(rest, abs=1e-9)


def test_given_atoms_do_not_move_and_the_joint_heals(alanine: Any) -> None:
    rest = _rest(alanine)
    known, _ = known_atoms(alanine.topology, np.array([False, True, False]))
    generated = rest + np.random.default_rng(0).normal(scale=0.02, size=rest.shape)
    graft = Graft(alanine, known, None)
    joined, energy, minimised = graft.join(generated, rest)
    assert minimised
    assert joined[known] == pytest.approx(rest[known], abs=1e-7)
    strained, _, _ = Graft(alanine, known, (1e9, 1e9)).join(generated, rest)
    assert strained[known] == pytest.approx(rest[known], abs=1e-9)
    assert energy < graft.join(rest, rest)[1] + 20


def test_a_structure_that_md_shows_is_left_as_it_is(alanine: Any) -> None:
    rest = _rest(alanine)
    known, _ = known_atoms(alanine.topology, np.array([False, True, False]))
    _, energy, _ = Graft(alanine, known, None).join(rest, rest)
    joined, _, minimised = Graft(alanine, known, (energy + 10, energy + 20)).join(rest, rest)
    assert not minimised and joined == pytest.approx(rest, abs=1e-9)
