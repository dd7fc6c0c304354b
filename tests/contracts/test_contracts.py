"""Contract checks over every public encoder, predictor and decoder, and checks that the checks notice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import latentmd.core.steps as predictors
from latentmd.core.steps import (
    ConditionalFlow,
    EGNNPredictor,
    FlowPredictor,
    GeneralHamiltonianPredictor,
    HamiltonianPredictor,
    LangevinPredictor,
    MixturePredictor,
    MLPPredictor,
    ResidualPredictor,
)
from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.decoders.torsions import TorsionDecoder
from latentmd.encoders.egnn import EGNNEncoder, MoleculeEncoder
from latentmd.molecule.features import molecule_graph
from latentmd.testing import check_decoder, check_encoder, check_invariance, check_predictor, check_relabelling

LAGS = (5.0, 100.0)


def cells(tokens: int) -> Tensor:
    return torch.randn(3, 4 * tokens, generator=torch.Generator().manual_seed(0))


PREDICTORS: dict[str, Callable[[int], nn.Module]] = {
    "ResidualPredictor": lambda tokens: ResidualPredictor(4, LAGS, 16, tokens=tokens),
    "FlowPredictor": lambda tokens: FlowPredictor(
        4, LAGS, width=16, depth=2, tokens=tokens, solver_steps=2, centres=cells(tokens)
    ),
    "MixturePredictor": lambda tokens: MixturePredictor(4, LAGS, components=4, width=16, depth=2, tokens=tokens),
    "MLPPredictor": lambda tokens: MLPPredictor(4, LAGS, 16, 2, tokens),
    "EGNNPredictor": lambda tokens: EGNNPredictor(4, LAGS, 16, coordinates=2),
    "HamiltonianPredictor": lambda tokens: HamiltonianPredictor(4, LAGS, 16, tokens, substeps=2),
    "GeneralHamiltonianPredictor": lambda tokens: GeneralHamiltonianPredictor(4, LAGS, 16, tokens),
    "LangevinPredictor": lambda tokens: LangevinPredictor(4, LAGS, 16, tokens, substeps=2),
}


def test_every_public_predictor_is_checked() -> None:
    public = {name for name in vars(predictors) if name.endswith("Predictor")}
    assert public == set(PREDICTORS)


@pytest.mark.parametrize("tokens", [1, 3])
@pytest.mark.parametrize("name", PREDICTORS)
def test_predictor(name: str, tokens: int, perturb: Any) -> None:
    predictor = perturb(PREDICTORS[name](tokens))
    z = torch.randn(6, tokens, 4, generator=torch.Generator().manual_seed(1))
    lag = torch.tensor([5.0, 10.0, 20.0, 40.0, 80.0, 100.0])
    out = check_predictor(predictor, z, lag)
    assert not torch.equal(out, predictor.step(z, lag.flip(0), torch.zeros(6, predictor.noise_size)))


@pytest.mark.parametrize("name", PREDICTORS)
def test_predictor_depends_on_the_lag(name: str, perturb: Any) -> None:
    predictor = perturb(PREDICTORS[name](1))
    z, noise = torch.randn(4, 1, 4), torch.randn(4, predictor.noise_size)
    short, long = (predictor.step(z, torch.full((4,), lag), noise) for lag in LAGS)
    assert (short - long).abs().max() > 1e-4


@pytest.mark.parametrize("name", ["ResidualPredictor", "EGNNPredictor"])
def test_predictor_treats_tokens_alike(name: str, perturb: Any) -> None:
    predictor = perturb(PREDICTORS[name](4))
    z, lag, nothing = torch.randn(5, 4, 4), torch.full((5,), 10.0), torch.zeros(5, 0)
    order = [2, 0, 3, 1]
    torch.testing.assert_close(predictor.step(z, lag, nothing)[:, order], predictor.step(z[:, order], lag, nothing))


@pytest.fixture(scope="module")
def encoder(alanine_topology: Any) -> MoleculeEncoder:
    torch.manual_seed(0)
    graph = molecule_graph(alanine_topology)
    from latentmd.molecule.features import FEATURE_SIZES

    return MoleculeEncoder(
        EGNNEncoder(FEATURE_SIZES, dim=4, width=24, depth=2), graph.features, graph.separation, graph.tokens
    ).eval()


@pytest.fixture(scope="module")
def frames(alanine_runs: list[Any]) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(alanine_runs[0][::80]))


def test_encoder(encoder: MoleculeEncoder, frames: Tensor) -> None:
    assert check_encoder(encoder, frames).shape == (len(frames), 3, 4)
    check_invariance(encoder, frames)


def test_encoder_does_not_tell_the_hydrogens_of_a_methyl_apart(
    encoder: MoleculeEncoder, frames: Tensor, alanine_topology: Any
) -> None:
    hydrogens = InternalCoordinates.from_topology(alanine_topology).rotor_hydrogens
    assert hydrogens.shape == (3, 3)
    for first, second, third in hydrogens.tolist():
        order = torch.arange(frames.shape[1])
        order[[first, second, third]] = torch.tensor([third, second, first])
        check_relabelling(encoder, frames, order.tolist())


def test_encoder_tells_other_atoms_apart(encoder: MoleculeEncoder, frames: Tensor, alanine_topology: Any) -> None:
    order = torch.arange(frames.shape[1])
    nitrogens = [atom.index for atom in alanine_topology.atoms if atom.name == "N"]
    order[nitrogens] = torch.tensor(nitrogens[::-1])
    with pytest.raises(AssertionError, match="exchanging equivalent atoms"):
        check_relabelling(encoder, frames, order.tolist())


def test_decoder(alanine_topology: Any, alanine_runs: list[Any], perturb: Any) -> None:
    coordinates = InternalCoordinates.from_topology(alanine_topology)
    decoder = TorsionDecoder(coordinates, 7, 16)
    decoder.fit_statistics(torch.from_numpy(alanine_runs[0]))
    decoder.fit_residual(torch.randn(len(alanine_runs[0]), 7), torch.from_numpy(alanine_runs[0]))
    check_decoder(perturb(decoder), torch.randn(5, 7), 22)


def test_conditional_flow_repeats_its_draw(perturb: Any) -> None:
    flow = perturb(ConditionalFlow(2, 3, 0, 16, 2, solver_steps=2))
    c, g, noise = torch.randn(4, 1, 3), torch.zeros(4, 0), torch.randn(4, flow.noise_size)
    out = flow.sample(c, g, noise)
    assert out.shape == (4, 1, 2)
    torch.testing.assert_close(
        torch.cat([flow.sample(c[i : i + 1], g[i : i + 1], noise[i : i + 1]) for i in range(4)]), out
    )


class Step(nn.Module):
    """A predictor that is wrong in the way its `fault` says."""

    noise_size: int = 3

    def __init__(self, fault: str) -> None:
        super().__init__()
        self.fault = fault

    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        if self.fault == "hidden draw":
            return z + torch.randn_like(z)
        if self.fault == "deaf":
            return 0.5 * z
        if self.fault == "batch":
            return z - z.mean(0) + noise.unsqueeze(1)
        if self.fault == "shape":
            return z.flatten(1)
        if self.fault == "type":
            return z.double() + noise.unsqueeze(1)
        return z / 0.0 + noise.unsqueeze(1)

    def forward(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        return self.step(z, lag, noise)


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("hidden draw", "global random state"),
        ("deaf", "another noise gave the same step"),
        ("batch", "alone and in a batch differ"),
        ("shape", "found a step of shape"),
        ("type", "found values of type torch.float64"),
        ("infinite", "not finite"),
    ],
)
def test_predictor_check_notices(fault: str, message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        check_predictor(Step(fault), torch.randn(4, 1, 3), torch.full((4,), 10.0))


class Distances(nn.Module):
    """All pair distances: cannot tell mirror images apart."""

    def forward(self, obs: Tensor) -> Tensor:
        return torch.cdist(obs, obs)


class Coordinates(nn.Module):
    """Positions themselves: change with orientation."""

    def forward(self, obs: Tensor) -> Tensor:
        return obs * 1.0


def test_invariance_check_notices(frames: Tensor) -> None:
    with pytest.raises(AssertionError, match="mirror image"):
        check_invariance(Distances(), frames, tolerance=1e-4)
    with pytest.raises(AssertionError, match="a rotation and a translation"):
        check_invariance(Coordinates(), frames)
