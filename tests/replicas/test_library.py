"""The compiled kernel's library, and a molecule in its layout."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from latentmd.replicas.library import VARIANTS, PreparedKernel, library
from latentmd.replicas.terms import COULOMB, read_terms


def test_the_library_runs_here_at_least_portably() -> None:
    found = library()
    if found is None:
        pytest.skip("the kernel is not installed: there was no C++ compiler")
    assert found.variants[0] == "portable" and set(found.variants) <= set(VARIANTS)
    assert found.lanes % 4 == 0 and found.periods == 6
    assert library() is found


@pytest.fixture(scope="module")
def prepared(alanine: Any) -> PreparedKernel:
    return PreparedKernel(read_terms(alanine.system), np.zeros((0, 4), np.int32), 1, 6)


def test_pairs_hold_combination_rules_and_exceptions(alanine: Any, prepared: PreparedKernel) -> None:
    terms, pairs = read_terms(alanine.system), prepared.arrays["pairs"]
    assert pairs.shape == (22, 22, 3)
    np.testing.assert_array_equal(pairs, pairs.transpose(1, 0, 2))
    excepted = {tuple(sorted(pair)) for pair in terms.exceptions.tolist()}
    i, j = next((i, j) for i in range(22) for j in range(i + 1, 22) if (i, j) not in excepted)
    (q, s, e), (p, t, f) = terms.nonbonded[i], terms.nonbonded[j]
    expected = [COULOMB * q * p, ((s + t) / 2) ** 2, 4 * np.sqrt(e * f)]
    np.testing.assert_allclose(pairs[i, j], expected, rtol=1e-6)
    bonded = terms.exceptions[np.all(terms.exception[:, [0, 2]] == 0, axis=1)]
    assert not pairs[bonded[:, 0], bonded[:, 1]][:, [0, 2]].any()


def test_torsions_about_four_atoms_are_one_series(alanine: Any, prepared: PreparedKernel) -> None:
    terms, arrays = read_terms(alanine.system), prepared.arrays
    quads = {tuple(row[:4]) for row in terms.torsions.tolist()}
    assert len(arrays["torsions"]) == len(quads) == prepared.molecule.n_torsions
    phi = 0.7
    n = np.arange(1, 7)
    ours = (arrays["torsion_constant"] + (arrays["torsion_cosine"] * np.cos(n * phi)).sum(1)).sum()
    ours += (arrays["torsion_sine"] * np.sin(n * phi)).sum()
    phase, k = terms.torsion.T
    assert ours == pytest.approx((k * (1 + np.cos(terms.torsions[:, 4] * phi - phase))).sum(), rel=1e-5)


def test_groups_of_constraints_share_no_atom(prepared: PreparedKernel) -> None:
    pairs, begins = prepared.arrays["constraints"], prepared.arrays["groups"]
    groups = [set(pairs[a:b].flatten().tolist()) for a, b in pairwise(begins)]
    assert begins[-1] == len(pairs) == 12
    assert sum(len(group) for group in groups) == len(set().union(*groups))
