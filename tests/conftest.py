"""Fixtures shared by every test: a minimised alanine dipeptide and a bundle with known answers."""

from __future__ import annotations

import os

# Arrays of tests are small: threads of BLAS only wait for each other. Set before NumPy and torch are imported.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

import io
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

if signal.getsignal(signal.SIGINT) == signal.SIG_IGN:  # as a shell has it for what it starts in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # which children start without, and so with the default

#: Files and functions that take seconds, one a line; measured with `pytest --durations=0`.
LONG = frozenset(Path(__file__).with_name("long.txt").read_text(encoding="utf-8").split())
for _folder in ("engines", "peptides", "solvent"):  # for `closed_form`, `peptide_rollouts` and `solvated`
    sys.path.append(str(Path(__file__).parents[1] / "examples" / _folder))
ALANINE_DIPEPTIDE = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark as `fast` all but slow tests, those of a GPU, and what long.txt lists."""
    for item in items:
        function = item.nodeid.split("[")[0]
        marked = any(item.get_closest_marker(name) for name in ("slow", "gpu"))
        if not marked and not {function, function.split("::")[0]} & LONG:
            item.add_marker("fast")


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """start(*arguments, **options) runs `latentmd` as a process of its own, which ends with the test at the latest."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: object, **options: Any) -> subprocess.Popen[str]:
        command = [sys.executable, "-P", "-m", "latentmd", *map(str, arguments)]
        running.append(subprocess.Popen(command, text=True, **{"stderr": subprocess.PIPE, **options}))
        return running[-1]

    yield run
    for process in running:
        process.kill()  # and its workers end with it
        process.communicate()


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

    from latentmd.molecule.chemistry import fingerprint

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
    from closed_form import torsion_surrogate

    return torsion_surrogate(alanine.topology, np.asarray(alanine.positions._value))


@pytest.fixture(scope="session")
def ou_bundle(ou_surrogate: Any, ou_manifest: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a bundle of `ou_surrogate`; lags 5 to 50 ps, 350 K."""
    from latentmd.model.file import save

    path = tmp_path_factory.mktemp("bundle") / "torsion-ou.pt"
    save(path, ou_surrogate, ou_manifest)
    return path


@pytest.fixture(scope="session")
def alanine_topology() -> Any:
    """mdtraj topology of the bundled alanine dipeptide."""
    import mdtraj

    return mdtraj.load(str(ALANINE_DIPEPTIDE)).topology


@pytest.fixture(scope="session")
def alanine_runs() -> list[Any]:
    """Three independent MD runs of alanine dipeptide in vacuum, 350 K: positions [500, 22, 3] nm, 0.2 ps apart."""
    from latentmd.systems.builder import Protocol, build
    from latentmd.systems.dynamics import MdSettings, run_md

    molecule = build(ALANINE_DIPEPTIDE, Protocol(solvent="vacuum"))
    runs = []
    for walker in range(3):
        blocks = list(run_md(molecule, MdSettings(500, 0.2, seed=3, walker=walker, platform="Reference")))
        runs.append(np.concatenate([block.positions for block in blocks]))
    return runs


@pytest.fixture(scope="session")
def perturb() -> Any:
    """perturb(module, seed): small random changes of all weights, so that outputs that start at zero become telling."""
    import torch

    def change(module: Any, seed: int = 0, size: float = 0.1) -> Any:
        generator = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in module.parameters():
                parameter.add_(size * torch.randn(parameter.shape, generator=generator))
        return module.eval()

    return change


@pytest.fixture(scope="session")
def untrained_surrogate(alanine_topology: Any, alanine_runs: list[Any], perturb: Any) -> Any:
    """A `Surrogate` of alanine dipeptide with random weights and fitted statistics."""
    import torch

    from latentmd.core.basis import LatentBasis
    from latentmd.core.steps import ConditionalFlow, FlowPredictor
    from latentmd.decoders.internal_coordinates import InternalCoordinates
    from latentmd.decoders.torsions import TorsionDecoder
    from latentmd.heads.energy import EnergyHead, LatentEnergyHead, MechanicsPrior
    from latentmd.model.surrogate import Surrogate
    from latentmd.training.config import EncoderConfig, TrainingConfig
    from latentmd.training.stages import new_encoder

    torch.manual_seed(0)
    frames = torch.from_numpy(np.concatenate(alanine_runs))
    config = TrainingConfig(encoder=EncoderConfig(token_dim=4, width=16, depth=2, vectors=3))
    encoder = new_encoder(alanine_topology, config)
    coordinates = InternalCoordinates.from_topology(alanine_topology)
    decoder, prior = TorsionDecoder(coordinates, 12, 32), MechanicsPrior(alanine_topology)
    decoder.fit_statistics(frames)
    prior.parameters_.copy_(torch.linspace(-1.0, 1.0, len(prior.parameters_)))
    centres = torch.randn(4, 5, generator=torch.Generator().manual_seed(1))
    surrogate = Surrogate(
        encoder,
        LatentBasis(torch.zeros(12), torch.eye(12), 5),
        predictor=FlowPredictor(5, (5.0, 100.0), 32, 2, solver_steps=2, centres=centres),
        fast=ConditionalFlow(7, 5, 0, 32, 2, solver_steps=2),
        decoder=decoder,
        energy_head=EnergyHead(new_encoder(alanine_topology, config), prior, 0.0, 10.0),
        latent_energy_head=LatentEnergyHead(12, 0.0, 10.0),
    )
    return perturb(surrogate)
