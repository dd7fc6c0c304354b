"""The bundled model and its chain of cells, once for all tests of this folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

MODEL = "alanine-dipeptide"


@pytest.fixture(scope="session")
def propagator() -> Any:
    """The bundled model of alanine dipeptide."""
    from latentmd.model.propagator import Propagator

    return Propagator(MODEL, "cpu", threads=1)


@pytest.fixture(scope="session")
def in_water(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Alanine dipeptide beside a water molecule, as a PDB file."""
    import mdtraj
    import numpy as np

    dry = mdtraj.load("systems/molecules/alanine_dipeptide.pdb")
    topology = dry.topology.copy()
    water = topology.add_residue("HOH", topology.add_chain(), resSeq=9)
    for name in ("O", "H1", "H2"):
        topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), water)
    far = [[2.0, 2.0, 2.0], [2.0957, 2.0, 2.0], [1.976, 2.0927, 2.0]]
    path = tmp_path_factory.mktemp("pdb") / "wet.pdb"
    mdtraj.Trajectory(np.concatenate([dry.xyz, [far]], axis=1), topology).save(str(path))
    return path


@pytest.fixture(scope="session")
def chain(propagator: Any) -> Any:
    """Its chain of cells."""
    from latentmd.sampling.paths.moves import cell_chain

    return cell_chain(propagator)


@pytest.fixture(scope="session")
def path_plan(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Plan of four paths of 60 ps from the most to the least populated state, a frame every 20 ps."""
    from latentmd.sampling.paths.plan import make_plan
    from latentmd.sampling.paths.request import PathsRequest

    return make_plan(
        PathsRequest(
            pdbs=(), origin=1, target=3, model=MODEL, time=60.0, interval=20.0, count=4, seed=5, processes=1,
            out=tmp_path_factory.mktemp("planned"),
        )
    )  # fmt: skip


@pytest.fixture(scope="session")
def batches(path_plan: Any) -> list[Any]:
    """The batches of that plan, drawn: two of two paths."""
    from latentmd.sampling.paths.run import PathBatch

    made = [PathBatch(options=path_plan.request, plan=path_plan, number=i, first=2 * i, size=2) for i in range(2)]
    for batch in made:
        batch.run()
    return made


@pytest.fixture(scope="session")
def drawn(batches: Any) -> Any:
    """Their paths."""
    from latentmd.sampling.paths.passages import read_batches

    return read_batches([batch.file for batch in batches])
