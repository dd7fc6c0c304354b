"""The model of many peptides in OpenMM and in memory: bound from a topology, its atoms in any order, L or D."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import openmm
import pytest
from numpy.typing import NDArray
from openmm import app

import latentmd
from latentmd.integrators import LatentCalculator, LatentDynamics, LatentIntegrator
from latentmd.integrators.openmm_selection import sub_topology
from latentmd.model.file import BundleError
from latentmd.molecule.stereo import handedness
from latentmd.systems.bundled import bundled

FIELD = ("amber14/protein.ff14SB.xml", "implicit/obc2.xml")


@pytest.fixture(scope="module")
def peptide() -> tuple[app.Topology, NDArray[Any]]:
    pdb = app.PDBFile(str(bundled("trialanine")))
    return pdb.topology, np.array(pdb.getPositions(asNumpy=True)._value)


def context_of(topology: app.Topology, x: NDArray[Any], **options: Any) -> openmm.Context:
    system = app.ForceField(*options.pop("files", FIELD)).createSystem(topology, constraints=app.HBonds)
    integrator = LatentIntegrator(350, "peptides", system=system, topology=topology, seed=1, device="cpu", **options)
    context = openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))
    context.setPositions(x)
    return context


@pytest.mark.parametrize("case", ["own order", "another order", "D"])
def test_steps_of_a_peptide(peptide: tuple[app.Topology, NDArray[Any]], case: str) -> None:
    topology, x = peptide
    if case == "another order":
        rng = np.random.default_rng(2)
        parts = [[atom.index for atom in residue.atoms()] for residue in topology.residues()]
        rows = [int(i) for part in parts for i in rng.permutation(part)]
        topology, x = sub_topology(topology, rows), x[rows]
    if case == "D":
        x = x * [1, 1, -1]
    context = context_of(topology, x)
    for _ in range(3):
        context.getIntegrator().step(1)
        state = context.getState(positions=True, energy=True)
        now = state.getPositions(asNumpy=True)._value
        assert set(handedness(topology, now).values()) == {"D" if case == "D" else "L"}
        bonds = np.array([(a.index, b.index) for a, b in topology.bonds()])
        assert np.linalg.norm(now[bonds[:, 0]] - now[bonds[:, 1]], axis=1).max() < 0.17
        assert state.getPotentialEnergy()._value < 1000


def test_a_system_is_saved_and_goes_on(peptide: tuple[app.Topology, NDArray[Any]]) -> None:
    topology, x = peptide
    context = context_of(topology, x)
    text = openmm.XmlSerializer.serialize(context.getSystem())
    integrator = openmm.XmlSerializer.deserialize(openmm.XmlSerializer.serialize(context.getIntegrator()))
    again = openmm.Context(
        openmm.XmlSerializer.deserialize(text), integrator, openmm.Platform.getPlatformByName("Reference")
    )
    again.setPositions(x)
    ends = []
    for each in (context, again):
        each.getIntegrator().step(1)
        ends.append(each.getState(positions=True).getPositions(asNumpy=True)._value)
    np.testing.assert_allclose(ends[1], ends[0], atol=1e-5)


def test_refusals(peptide: tuple[app.Topology, NDArray[Any]]) -> None:
    topology, x = peptide
    with pytest.raises(ValueError, match="the System has no implicit solvent"):
        context_of(topology, x, files=FIELD[:1])
    with pytest.raises(ValueError, match="latentmd bind"):
        context_of(topology, x, provider="torchforce")
    alone = sub_topology(topology, range(topology.getNumAtoms() - 1))
    with pytest.raises(ValueError, match="model 'peptides' does not cover this molecule: it was not trained on"):
        LatentIntegrator(350, "peptides", system=openmm.System(), topology=alone)


def test_load_binds_a_model_in_memory(peptide: tuple[app.Topology, NDArray[Any]]) -> None:
    topology, x = peptide
    model = latentmd.load("peptides", "cpu", topology=topology, positions=x)
    moved = model.propose(x, 100.0, np.random.default_rng(0))
    assert all(ok.all() for ok in model.checks(moved[None]).values())
    assert model.trajectories.window > 2 and "peptides" in repr(model)
    angstrom = latentmd.load("peptides", "cpu", topology=topology, positions=10 * x * openmm.unit.angstrom)
    np.testing.assert_allclose(angstrom.molecule()[1], x, atol=1e-3)
    for wrong in (x[:3], np.full_like(x, np.nan)):
        with pytest.raises(ValueError, match=r"positions of \d+ atoms; expected finite ones of 33 atoms, in nm"):
            latentmd.load("peptides", topology=topology, positions=wrong)
    with pytest.raises(BundleError, match="latentmd bind"):
        latentmd.load("peptides")
    with pytest.raises(ValueError, match="positions are missing"):
        latentmd.load("peptides", topology=topology)
    with pytest.raises(TypeError, match="the model is 5; expected a name or a path"):
        latentmd.load(5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not cover this molecule: it has"):
        latentmd.load("alanine-dipeptide", topology=topology)


def test_what_has_no_energy_says_so(peptide: tuple[app.Topology, NDArray[Any]], tmp_path: Path) -> None:
    ase_io, mlpotential = pytest.importorskip("ase.io"), pytest.importorskip("openmmml")
    topology, x = peptide
    with pytest.raises(ValueError, match=r"peptides has no energy to give to OpenMM-ML: .* does not transfer"):
        mlpotential.MLPotential("latentmd", modelPath="peptides")
    text = io.StringIO()
    app.PDBFile.writeFile(topology, x * openmm.unit.nanometer, text)
    atoms = ase_io.read(io.StringIO(text.getvalue()), format="proteindatabank")
    atoms.calc = LatentCalculator(latentmd.load("peptides", "cpu", topology=topology, positions=x))
    with pytest.raises(NotImplementedError, match="has no energy"):
        atoms.get_potential_energy()
    with pytest.raises(NotImplementedError, match="has no energy"):
        atoms.calc.compute_batch([atoms])
    model, step, log = atoms.calc.propagator, 1e5 * pytest.importorskip("ase.units").fs, tmp_path / "run.log"
    with LatentDynamics(atoms, step, model, trajectory=str(tmp_path / "run.traj")) as dynamics:
        dynamics.run(2)
    assert len(ase_io.read(tmp_path / "run.traj", ":")) == 3
    atoms.calc = None
    with LatentDynamics(atoms, step, model, logfile=str(log)) as dynamics:
        dynamics.run(1)
    assert [line.split()[2] for line in log.read_text().splitlines()[1:]] == ["nan"] * 2
