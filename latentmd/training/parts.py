"""The predictors and encoders that a configuration can name: how each is made and, of a predictor, its loss.

A part of your own needs no change here: give its kind as `"module:NAME"`, where NAME is a `Predictor` or an `Encoder`.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmd.analysis.msm import k_means
from latentmd.core import steps
from latentmd.core.objectives import conservation_loss
from latentmd.encoders.egnn import EGNNEncoder, MoleculeEncoder
from latentmd.encoders.frames import ConvolutionalEncoder, FrameEncoder
from latentmd.encoders.particles import ParticleEncoder
from latentmd.encoders.vectors import SequenceEncoder, StandardEncoder, VectorEncoder
from latentmd.interpreter import own_part
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.chemistry import chemistry
from latentmd.molecule.features import FEATURE_SIZES, molecule_graph
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.molecule.z_matrix import placing_torsions

Settings = Any  # section of a configuration, whose fields are those of the kind
Runs = Sequence[NDArray[np.float32]]
Part = TypeVar("Part", "Predictor", "Encoder")
_KMEANS_FRAMES = 50_000


@dataclass(frozen=True)
class Latent:
    """What a predictor propagates.

    Attributes:
        tokens, dim: shape of the latent.
        lag: shortest and longest lag.
        runs: latents [frames, tokens · dim] of each training trajectory, where they are known already.
        seed: of what is fitted to them.
    """

    tokens: int
    dim: int
    lag: tuple[float, float]
    runs: Runs = ()
    seed: int = 0


@dataclass(frozen=True)
class LatentWindow:
    """A batch of training data.

    Attributes:
        frames: latents [batch, tokens, dim] in time order, one lag apart.
        lag: [batch].
        generator: of random numbers, on the CPU.
    """

    frames: Sequence[Tensor]
    lag: Tensor
    generator: torch.Generator


@dataclass(frozen=True)
class Predictor:
    """A kind of predictor.

    Attributes:
        build: makes one from the latent and the settings.
        loss: of a predictor, a window and the settings: scalars by name, "loss" is minimised.
        pairs: whether the loss is of pairs of frames; otherwise of windows of as many as the settings say.
        of_molecules: whether it serves models of molecules: stochastic, with a `mean_step`; otherwise those of worlds.
        start: sets the first parameters from pairs of frames a median lag apart.
    """

    build: Callable[[Latent, Settings], nn.Module]
    loss: Callable[[Any, LatentWindow, Settings], dict[str, Tensor]]
    pairs: bool = False
    of_molecules: bool = False
    start: Callable[[Any, Tensor, float, Tensor], None] | None = None


@dataclass(frozen=True)
class Observed:
    """What an encoder sees.

    Attributes:
        typical: typical observations [samples, ...]; positions [samples, atoms, 3] nm of a molecule, or none.
        topology: mdtraj topology of a molecule; None of a world.
        box, cutoff: width of a world's periodic box and reach of its forces; 0 without.
    """

    typical: Tensor
    topology: Any = None
    box: float = 0.0
    cutoff: float = 0.0


@dataclass(frozen=True)
class Encoder:
    """A kind of encoder.

    Attributes:
        build: makes one from what it sees and the settings; of a molecule an `AtomEncoder`.
        of_molecules: whether it reads molecules.
    """

    build: Callable[[Observed, Settings], nn.Module]
    of_molecules: bool = False


def likelihood(predictor: Any, window: LatentWindow, settings: Settings) -> dict[str, Tensor]:
    """Negative log-likelihood of the second frame given the first, by `log_likelihood(z, lag, future)`."""
    return {"loss": -predictor.log_likelihood(window.frames[0], window.lag, window.frames[1]).mean()}


def flow_matching(predictor: steps.FlowPredictor, window: LatentWindow, settings: Settings) -> dict[str, Tensor]:
    """Cross-entropy of the cell, and flow matching within it, of pairs of frames."""
    now, future = window.frames
    noise = torch.randn(future.shape, generator=window.generator).to(now.device)
    u = torch.rand(len(now), generator=window.generator).to(now.device)
    entropy, mean, scale, flow = predictor.loss(now, window.lag, future, noise, u)
    return {"loss": mean + scale + flow + entropy, "mean": mean, "scale": scale, "flow": flow, "entropy": entropy}


def unrolled(predictor: Any, window: LatentWindow, settings: Settings) -> dict[str, Tensor]:
    """Squared error of a deterministic predictor that is fed its own predictions, from the first frame on."""
    return {"loss": _rollout_error(predictor, window)[0]}


def _conserving(predictor: Any, window: LatentWindow, settings: Settings) -> dict[str, Tensor]:
    loss, path = _rollout_error(predictor, window)
    drift = conservation_loss([predictor.energy(z) for z in path])
    return {"loss": loss + settings.energy_term * drift, "prediction": loss, "conservation": drift}


def _rollout_error(predictor: Any, window: LatentWindow) -> tuple[Tensor, list[Tensor]]:
    path, errors, nothing = [window.frames[0]], [], window.frames[0].new_zeros(len(window.lag), 0)
    for target in window.frames[1:]:
        path.append(predictor.step(path[-1], window.lag, nothing))
        errors.append((path[-1] - target).square().mean())
    return torch.stack(errors).mean(), path


def _flow(z: Latent, s: Settings) -> nn.Module:
    """A flow whose cells have k-means centres of the latents."""
    frames = np.concatenate(z.runs)
    frames = frames[:: max(1, len(frames) // _KMEANS_FRAMES)].astype(np.float64)
    centres = k_means(frames, s.cells, z.seed, sweeps=500).cluster_centers
    found = torch.from_numpy(np.asarray(centres, dtype=np.float32))
    return steps.FlowPredictor(z.dim, z.lag, s.width, s.depth, z.tokens, solver_steps=s.solver_steps, centres=found)


def _mixture(z: Latent, s: Settings) -> nn.Module:
    return steps.MixturePredictor(z.dim, z.lag, s.components, s.width, s.depth, tokens=z.tokens)


def _hamiltonian(z: Latent, s: Settings) -> nn.Module:
    return steps.HamiltonianPredictor(z.dim, z.lag, s.width, z.tokens, s.substeps)


def _mlp(z: Latent, s: Settings, times: int = 1) -> nn.Module:
    return steps.MLPPredictor(z.dim, z.lag, times * s.width, s.depth, z.tokens)


PREDICTORS: dict[str, Predictor] = {
    "flow": Predictor(_flow, flow_matching, pairs=True, of_molecules=True),
    "mixture": Predictor(_mixture, likelihood, pairs=True, of_molecules=True),
    "residual": Predictor(lambda z, s: steps.ResidualPredictor(z.dim, z.lag, s.width, s.depth, z.tokens), unrolled),
    "mlp": Predictor(_mlp, unrolled),
    "large-mlp": Predictor(lambda z, s: _mlp(z, s, times=2), unrolled),  # some four times the parameters
    "egnn": Predictor(lambda z, s: steps.EGNNPredictor(z.dim, z.lag, s.width, s.depth), unrolled),
    "hamiltonian": Predictor(_hamiltonian, unrolled),
    "hamiltonian-euler": Predictor(
        lambda z, s: steps.HamiltonianPredictor(z.dim, z.lag, s.width, z.tokens, s.substeps, scheme="euler"), unrolled
    ),
    "hamiltonian-energy-term": Predictor(_hamiltonian, _conserving),
    "hamiltonian-general": Predictor(
        lambda z, s: steps.GeneralHamiltonianPredictor(z.dim, z.lag, s.width, z.tokens, s.substeps), unrolled
    ),
    "langevin": Predictor(
        lambda z, s: steps.LangevinPredictor(z.dim, z.lag, s.width, z.tokens), likelihood, pairs=True,
        start=steps.LangevinPredictor.match_moments,
    ),
}  # fmt: skip


def _egnn(seen: Observed, s: Settings) -> nn.Module:
    graph = molecule_graph(seen.topology)
    network = EGNNEncoder(FEATURE_SIZES, s.token_dim, s.width, s.depth, s.vectors)
    return MoleculeEncoder(network, graph.features, graph.separation, graph.tokens)


def _graph(seen: Observed, s: Settings) -> nn.Module:
    from latentmd.encoders.graph import GraphEncoder, GraphMoleculeEncoder, molecule_data  # a second of imports

    network = EGNNEncoder(FEATURE_SIZES, s.token_dim, s.width, s.depth, s.vectors)
    placing, data = placing_torsions(chemistry(seen.topology)), molecule_data(seen.topology)
    quads = rotatable_torsions(*topology_arrays(seen.topology)).tolist() + placing
    told = torch.tensor(quads, dtype=torch.long).reshape(-1, 4)
    return GraphMoleculeEncoder(GraphEncoder(network, s.cutoff, hydrogens=False), data, told, len(placing))


ENCODERS: dict[str, Encoder] = {
    "egnn": Encoder(_egnn, of_molecules=True),
    "graph": Encoder(_graph, of_molecules=True),
    "vector": Encoder(lambda seen, s: VectorEncoder(seen.typical, s.tokens, s.dim, s.width, s.depth)),
    "sequence": Encoder(lambda seen, s: SequenceEncoder(seen.typical, s.tokens, s.dim, s.width, s.depth)),
    "convolutions": Encoder(
        lambda seen, s: ConvolutionalEncoder(seen.typical.shape[1], s.tokens, s.dim, s.width, seen.typical.shape[2])
    ),
    "frames": Encoder(lambda seen, s: FrameEncoder(seen.typical, s.tokens, s.dim, s.width)),
    "particles": Encoder(
        lambda seen, s: ParticleEncoder(seen.typical, seen.box, seen.cutoff, s.dim, width=s.width, depth=s.depth)
    ),
    "standard": Encoder(lambda seen, s: StandardEncoder(seen.typical)),
}


def predictor_of(kind: str, of_molecules: bool) -> Predictor:
    """The predictor of a kind, a name in `PREDICTORS` or "module:NAME", of molecules or of worlds; or ValueError."""
    return _find(kind, PREDICTORS, Predictor, of_molecules)


def encoder_of(kind: str, of_molecules: bool) -> Encoder:
    """The encoder of a kind, a name in `ENCODERS` or "module:NAME", of molecules or of worlds; or ValueError."""
    return _find(kind, ENCODERS, Encoder, of_molecules)


def _find(kind: str, table: dict[str, Part], schema: type[Part], of_molecules: bool) -> Part:
    what = f"{schema.__name__.lower()} of {'molecules' if of_molecules else 'worlds'}"
    if ":" in kind:
        found = own_part(kind, schema, what)
        if found.of_molecules == of_molecules:
            return found
        raise ValueError(f"{kind!r} is no {what}; expected a latentmd.training.parts.{schema.__name__} of those")
    names = [name for name, part in table.items() if part.of_molecules == of_molecules]
    if kind in names:
        return table[kind]
    near = difflib.get_close_matches(kind, names, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise ValueError(f"no {what} is called {kind!r}; {hint}There are {', '.join(names)}")
