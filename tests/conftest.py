"""Fixtures shared by every test: a minimised alanine dipeptide and a bundle with known answers."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ALANINE_DIPEPTIDE = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.fixture(scope="session")
def alanine() -> Any:
    """The bundled alanine dipeptide as a parametrised Molecule at an energy minimum."""
    import dataclasses

    from latentmd.systems.builder import build

    molecule = build(ALANINE_DIPEPTIDE)
    import openmm

    platform = openmm.Platform.getPlatformByName("Reference")
    context = openmm.Context(molecule.system, openmm.VerletIntegrator(0.001), platform)
    context.setPositions(molecule.positions)
    openmm.LocalEnergyMinimizer.minimize(context, 0.1)
    positions = context.getState(positions=True).getPositions(asNumpy=True)
    return dataclasses.replace(molecule, positions=positions)


@pytest.fixture(scope="session")
def ou_manifest(alanine: Any) -> dict[str, Any]:
    """Manifest fields of `ou_bundle`."""
    from openmm import app

    from latentmd.data.graph import fingerprint

    text = io.StringIO()
    app.PDBFile.writeFile(alanine.topology, alanine.positions, text)
    return {
        "name": "torsion-ou",
        "topology": text.getvalue(),
        "fingerprint": fingerprint(alanine.topology),
        "tokens": [atom.residue.index for atom in alanine.topology.atoms()],
        "lag": (5.0, 50.0),
        "frame_interval": 1.0,
        "temperature": 350.0,
        "force_field": ["amber14/protein.ff14SB.xml", "implicit/obc2.xml"],
        "friction": 1.0,
        "timestep": 0.004,
        "hydrogen_mass": 3.0,
        "solvent": "implicit",
        "split": {"train": [], "validation": [], "test": []},
        "seed": 0,
        "slow_axes": 2,
        "metrics": {},
    }


@pytest.fixture(scope="session")
def ou_surrogate(alanine: Any) -> Any:
    """A TorsionSurrogate of alanine dipeptide: phi and psi follow Ornstein–Uhlenbeck processes (tau 50 ps, 0.5 rad)."""
    from latentmd.testing import torsion_surrogate

    return torsion_surrogate(alanine.topology, np.asarray(alanine.positions._value))


@pytest.fixture(scope="session")
def ou_bundle(ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a bundle of `ou_surrogate`; lags 5 to 50 ps, 350 K."""
    from latentmd.bundle import save

    path = tmp_path_factory.mktemp("bundle") / "torsion-ou.pt"
    save(path, ou_surrogate, ou_manifest)
    return path
