"""What a training on a world leaves behind: the scripted model and what it is, in one file."""

from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from latentmd.analysis.metric import Document
from latentmd.model.file import BundleError, script, seal, unseal
from latentmd.model.manifest import Seal


class WorldManifest(Seal):
    """What a world's model is and where it holds; times and lags in frames of `interval` in the world's unit."""

    format: Literal["latentmd-world-1"] = "latentmd-world-1"
    world: str
    observe: str
    units: str = ""
    interval: float = Field(gt=0)
    lag: tuple[int, int]
    predictor: str
    latent: tuple[int, int]
    read_out: list[str]
    seed: int
    metrics: Document = Field(default_factory=dict)
    training: Document = Field(default_factory=dict)


class WorldModel(nn.Module):
    """Observation → tokens [batch, tokens, dim] → later tokens → quantities of the world and what is seen of it."""

    def __init__(self, encoder: nn.Module, predictor: nn.Module, reader: nn.Module, decoder: nn.Module) -> None:
        super().__init__()
        self.encoder, self.predictor, self.reader, self.decoder = encoder, predictor, reader, decoder
        self.noise_size = int(predictor.noise_size)  # type: ignore[arg-type]

    @torch.jit.export
    def encode(self, obs: Tensor) -> Tensor:
        """Tokens [batch, tokens, dim] of observations."""
        out: Tensor = self.encoder(obs)
        return out

    @torch.jit.export
    def step(self, z: Tensor, lag: Tensor, noise: Tensor) -> Tensor:
        """Tokens a lag later."""
        out: Tensor = self.predictor(z, lag, noise)
        return out

    @torch.jit.export
    def read(self, z: Tensor) -> Tensor:
        """Quantities of the world [batch, quantities], as named in the manifest."""
        out: Tensor = self.reader(z, torch.zeros(z.shape[0], 0, dtype=z.dtype))
        return out

    @torch.jit.export
    def decode(self, z: Tensor) -> Tensor:
        """What is seen of a frame."""
        out: Tensor = self.decoder(z, torch.zeros(z.shape[0], 0, dtype=z.dtype))
        return out

    def forward(self, obs: Tensor) -> Tensor:
        """Latent tokens of observations; the same as `encode`."""
        return self.encode(obs)


def save_world(path: str | Path, model: WorldModel, manifest: WorldManifest) -> WorldManifest:
    """Script a world's model and write it with its manifest; returns the completed manifest."""
    return seal(path, script(model.eval().cpu()), manifest)


def load_world(path: str | Path) -> tuple[Any, WorldManifest]:
    """The TorchScript module of a world's model file and its manifest."""
    if not Path(path).is_file():
        raise BundleError(f"{path}: no such file; `latentmd train world` writes one as model.pt")
    module, manifest, _ = unseal(Path(path), WorldManifest)
    return module, manifest
