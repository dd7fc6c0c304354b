"""The bundled model and its chain of cells, once for all tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest

MODEL = "alanine-dipeptide"


@pytest.fixture(scope="session")
def propagator() -> Any:
    """The bundled model of alanine dipeptide."""
    from latentmd.model.propagator import Propagator

    return Propagator(MODEL, "cpu", threads=1)


@pytest.fixture(scope="session")
def chain(propagator: Any) -> Any:
    """Its chain of cells."""
    from latentmd.sampling.paths.cells import cell_chain

    return cell_chain(propagator, MODEL)
