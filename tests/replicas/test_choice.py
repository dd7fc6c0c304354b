"""The engine for a System: compiled where it can, OpenMM otherwise, and the reason."""

from __future__ import annotations

from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.replicas import choice
from latentmd.replicas.choice import engine_in_use, replica_engine, unsupported
from latentmd.replicas.engine import ReplicaEngine
from latentmd.replicas.library import library
from latentmd.replicas.one_by_one import OneByOne


@pytest.fixture
def foreign(alanine: Any) -> Any:
    """The System with a force that the kernel does not know."""
    system = openmm.XmlSerializer.clone(alanine.system)
    system.addForce(openmm.CustomBondForce("0"))
    return system


def _two(alanine: Any) -> np.ndarray:
    return np.stack(2 * [np.asarray(alanine.positions._value)])


def test_a_peptide_gets_the_kernel(alanine: Any) -> None:
    if library() is None:
        pytest.skip("the kernel is not installed: there was no C++ compiler")
    assert unsupported(alanine.system) == ""
    assert isinstance(replica_engine(alanine.system, _two(alanine)), ReplicaEngine)


def test_a_foreign_force_gets_openmm_with_the_reason(foreign: Any, alanine: Any) -> None:
    assert "CustomBondForce" in unsupported(foreign) or library() is None
    assert isinstance(replica_engine(foreign, _two(alanine)), OneByOne)


def test_both_engines_agree(alanine: Any, foreign: Any) -> None:
    """Energies and forces of the kernel, in single precision, are those of OpenMM's Reference platform."""
    ours = replica_engine(alanine.system, _two(alanine), seed=3, numbers=[4, 5])
    theirs = replica_engine(foreign, _two(alanine), seed=3, numbers=[4, 5])
    np.testing.assert_allclose(ours.energies(), theirs.energies(), rtol=1e-4)
    np.testing.assert_allclose(ours.forces(), theirs.forces(), rtol=1e-3, atol=0.5)


def test_without_a_kernel_the_reason_says_so(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "library", lambda: None)
    assert "no C++ compiler was found at installation" in unsupported(alanine.system)
    assert isinstance(replica_engine(alanine.system, _two(alanine)), OneByOne)
    assert engine_in_use().startswith("OpenMM, one replica at a time")


def test_the_kernel_can_be_switched_off(alanine: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LATENTMD_REPLICAS", "off")
    library.cache_clear()
    try:
        assert library() is None
        assert "switched off by LATENTMD_REPLICAS=off" in unsupported(alanine.system)
    finally:
        library.cache_clear()


def test_the_engine_in_use_names_its_instruction_set() -> None:
    found = library()
    if found is None:
        pytest.skip("the kernel is not installed: there was no C++ compiler")
    assert found.variants[-1] in engine_in_use()
