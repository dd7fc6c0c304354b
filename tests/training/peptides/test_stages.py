"""Stages of training: each lowers its loss, and leaves the parts of the others alone."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch

from latentmd.core.objectives import Regularisation
from latentmd.core.steps.angles import EVER, NOW
from latentmd.decoders.residues import ResidueStatistics
from latentmd.model.peptides import PeptideConfig, PeptideModel
from latentmd.training.loop import Stage
from latentmd.training.peptides.data import Peptides, Sampler, read
from latentmd.training.peptides.dataset import find_molecules, read_molecule
from latentmd.training.peptides.stages import (
    WithinMolecules,
    by_kind_of_lag,
    fit_type_basis,
    latent_stage,
    step_inputs,
    step_loss,
    step_stage,
)
from latentmd.training.run import TrainingRun

SHAPE = (4, 8)


@pytest.fixture(scope="module")
def peptides(peptide_dataset: Path) -> Peptides:
    return read(map(read_molecule, find_molecules(peptide_dataset)), torch.device("cpu"), ResidueStatistics())


@pytest.fixture
def sampler(peptides: Peptides) -> Sampler:
    return Sampler(peptides, 100.0)


def _model() -> PeptideModel:
    torch.manual_seed(0)
    return PeptideModel(PeptideConfig(8, 8, 16, 1, width=24, depth=1, causal_depth=1, heads=2))


def _run(stage: Stage, steps: int, folder: Path) -> tuple[torch.nn.Module, list[dict[str, float]]]:
    """Run so many steps of a stage; what it made, and the rows of its log."""
    rows: list[dict[str, float]] = []
    stage.steps = steps
    run = TrainingRun.of(folder, lambda *row: rows.append(row[3]), device="cpu")
    return run.stage(stage), rows


def test_the_latent_learns_to_tell_torsions_and_the_step_is_left_alone(sampler: Sampler, tmp_path: Path) -> None:
    model = _model()
    step = copy.deepcopy(model.step.state_dict())
    _, rows = _run(latent_stage(model, sampler, SHAPE, seconds=1e9, seed=0), 60, tmp_path)
    assert rows[-1]["ground"] < rows[0]["ground"]
    assert all(torch.equal(value, step[name]) for name, value in model.step.state_dict().items())


def test_the_basis_has_axes_by_falling_autocorrelation(sampler: Sampler) -> None:
    model = _model()
    found = fit_type_basis(model, sampler, 50.0, batches=4, shape=(4, 16), seed=0)
    assert found.shape[1] == 8
    seen = found[found.abs().sum(1) > 0]
    assert len(seen) >= 4 and bool((seen.diff(dim=1) <= 1e-5).all())


def test_the_step_gets_likelier_and_the_encoder_is_left_alone(sampler: Sampler, tmp_path: Path) -> None:
    model = _model()
    fit_type_basis(model, sampler, 50.0, batches=2, shape=(4, 16), seed=0)
    encoder = copy.deepcopy(model.encoder.state_dict())
    batch = sampler.draw(4, 64, torch.Generator().manual_seed(8))

    def loss(of: PeptideModel) -> float:
        with torch.no_grad():
            return float(step_loss(of.eval(), batch, torch.Generator().manual_seed(9))[0])

    before = loss(model)
    trained, _ = _run(step_stage(model, sampler, SHAPE, seconds=1e9, seed=0, peak=3e-3), 80, tmp_path)
    assert isinstance(trained, PeptideModel) and loss(trained) < before - 0.1
    assert all(torch.equal(value, encoder[name]) for name, value in trained.encoder.state_dict().items())


def test_values_by_kind_of_lag() -> None:
    found = by_kind_of_lag(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([NOW, 50.0, EVER]))
    assert {name: values.tolist() for name, values in found.items()} == {"now": [1.0], "later": [2.0], "ever": [3.0]}


def test_shares_of_a_batch_decode_and_forget(sampler: Sampler) -> None:
    batch = sampler.draw(1, 3, torch.Generator().manual_seed(8))
    lag, target = step_inputs(batch, torch.tensor([0.05, 0.5, 0.9]))
    assert lag[0] == NOW and lag[1] == batch.lag[1] and lag[2] == EVER
    assert torch.equal(target[0], batch.now[0]) and torch.equal(target[1:], batch.later[1:])


def test_an_objective_within_molecules_sees_deviations_from_their_means() -> None:
    seen = []

    class Objective(torch.nn.Module):
        def forward(self, z: torch.Tensor) -> Regularisation:
            seen.append(z)
            return Regularisation(z.sum(), z.sum(), z.sum())

    z = torch.randn(6, 8) + torch.tensor([0.0] * 3 + [100.0] * 3).unsqueeze(1)
    WithinMolecules(Objective(), 3, 4)(z)
    assert seen[0].shape == (12, 4) and float(seen[0].reshape(2, 3, 8).mean(1).abs().max()) < 1e-4
