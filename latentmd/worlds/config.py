"""Settings of a training on a toy world, and the recipe of each world and way of observing it."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from latentmd.analysis.metric import Document
from latentmd.training.config import ConfigSection, EmbeddingSettings, Steps, known_kind, parse_section
from latentmd.training.parts import encoder_of, predictor_of

_CURVES: Document = {
    "horizon": 20,
    "data": {"train": 300, "test": 60, "frames": 48},
    "encoder": {"kind": "sequence", "dim": 16, "width": 48, "depth": 1},
    "jepa": {"steps": 800, "batch": 128, "rollout": 3},
    "predictor": {"steps": 400, "batch": 128, "width": 64, "rollout": 4},
    "decoder": {"steps": 400, "width": 64},
}
_LANGEVIN: Document = {"kind": "langevin", "rivals": (), "width": 32, "rollout": 1}
_WELLS: Document = {
    "parameters": {"stride": 4},  # a step of BAOAB has to resolve the wells' own frequency
    "horizon": 50,
    "data": {"train": 1000, "test": 30, "frames": 800},  # 150 hold some 70 crossings, which leaves populations open
    "encoder": {"kind": "standard"},
    "jepa": {"steps": 1, "rollout": 1},
    "predictor": {**_LANGEVIN, "steps": 3000, "batch": 4096, "learning_rate": 1e-2},
    "decoder": {"steps": 400, "width": 64},
}
# Two dimensions need more updates, and at the rate of the double well rollouts strayed from where the data are.
_SLOWER: Document = {**_LANGEVIN, "steps": 9000, "batch": 1024, "learning_rate": 5e-3}
_TWO_DIMENSIONAL_WELLS: Document = {**_WELLS, "predictor": _SLOWER}
_PARTICLES: Document = {
    "horizon": 20,
    "data": {"train": 40, "test": 8, "frames": 60},
    "encoder": {"kind": "particles", "dim": 64, "width": 48, "depth": 2},
    "jepa": {"steps": 600, "batch": 16, "rollout": 2, "sample": "token"},
    # Trained over the whole horizon: over shorter rollouts forecasts heat or cool beyond them.
    "predictor": {"kind": "residual", "rivals": (), "steps": 600, "batch": 16, "width": 32, "rollout": 20},
    "decoder": {"steps": 600, "batch": 64, "learning_rate": 1e-2},
}
_PICTURES: Document = {
    "horizon": 40,
    "data": {"train": 400, "test": 40, "frames": 60},
    "encoder": {"kind": "frames", "dim": 256, "width": 256},
    # With a slow copy as target the places of things stayed a small part of the latent; gradients through both sides
    # make the encoder look for what can be predicted.
    "jepa": {"steps": 1500, "batch": 256, "rollout": 3, "learning_rate": 3e-3, "ema": None, "covariance": 0.1},
    "predictor": {"steps": 800, "batch": 128, "width": 128, "rollout": 6},
    "decoder": {"steps": 1000, "batch": 64, "width": 256},
}
_RIVALS = ("hamiltonian-energy-term", "hamiltonian-euler", "residual", "mlp", "large-mlp")  # of the Hamiltonian one

RECIPES: dict[tuple[str, str], Document] = {
    ("double-pendulum", "coordinates"): {
        "data": {"train": 150, "test": 30},
        "encoder": {"kind": "vector", "dim": 128, "width": 128},
        "jepa": {"steps": 1200, "batch": 128},
        "predictor": {"steps": 500, "batch": 128, "width": 96, "rollout": 6},
        "decoder": {"steps": 800},
    },
    ("double-pendulum", "pixels"): _PICTURES,
    ("circles", "coordinates"): _CURVES,
    ("lines", "coordinates"): _CURVES,
    ("two-balls", "state"): {
        "horizon": 30,
        "data": {"train": 200, "test": 40, "frames": 60},
        "encoder": {"kind": "vector", "dim": 16, "width": 96},
        "jepa": {"steps": 800, "batch": 128, "rollout": 3},
        "predictor": {"kind": "hamiltonian", "rivals": _RIVALS, "steps": 200, "batch": 128, "width": 64, "rollout": 5},
        "decoder": {"steps": 600},
    },
    ("two-balls", "pixels"): _PICTURES,
    ("double-well", "state"): _WELLS,
    ("double-well", "coordinates"): _WELLS,
    ("muller-brown", "state"): _TWO_DIMENSIONAL_WELLS,
    ("muller-brown", "coordinates"): _TWO_DIMENSIONAL_WELLS,
    ("lennard-jones", "particles"): _PARTICLES,
    ("argon", "particles"): _PARTICLES,
}


PredictorKind = Annotated[str, known_kind(predictor_of, of_molecules=False)]


class WorldDataConfig(ConfigSection):
    """Trajectories, each from its own start; training and test sets have their own seeds. Times in frames."""

    train: int = Field(200, ge=2)
    test: int = Field(40, ge=1)
    frames: int = Field(120, ge=4)


class WorldEncoderConfig(ConfigSection):
    """Kind and size of the encoder, and of the latent; "standard" is the standardised observation itself."""

    kind: Annotated[str, known_kind(encoder_of, of_molecules=False)] = "vector"
    tokens: int = Field(1, ge=1)
    dim: int = Field(16, ge=2)
    width: int = Field(96, ge=4)
    depth: int = Field(2, ge=1)


class WorldJEPAConfig(EmbeddingSettings):
    """Joint-embedding prediction; lags in frames."""

    lag: tuple[int, int] = (1, 1)
    rollout: int = Field(4, ge=1)
    sample: Literal["frame", "token"] = Field("frame", description="of the objective; token for like particles")
    conserved: float = Field(0.0, ge=0, description="weight of the energy term, for predictors with an energy")
    minimum_rank: float = Field(1.2, ge=1)


class WorldPredictorConfig(Steps):
    """The predictor, and its training on the frozen latents beside its rivals, all with the same budget."""

    kind: PredictorKind = "residual"
    rivals: tuple[PredictorKind, ...] = ("mlp",)
    width: int = Field(96, ge=4)
    depth: int = Field(2, ge=1)
    substeps: int = Field(1, ge=1)
    rollout: int = Field(8, ge=1)
    energy_term: float = Field(1.0, ge=0, description="its weight for the rival hamiltonian-energy-term")


class WorldDecoderConfig(Steps):
    """Verification decoder on the frozen encoder."""

    width: int = Field(128, ge=4)


class WorldConfig(ConfigSection):
    """All of a training on a world. Times in frames; the world documents its own units."""

    world: str
    observe: str
    seed: int = 0
    parameters: Document = Field(default_factory=dict, description="of the world, in place of its defaults")
    horizon: int = Field(50, ge=1, description="steps of a forecast")
    maps: tuple[Literal["PCA", "UMAP"], ...] = ("PCA", "UMAP")
    data: WorldDataConfig = WorldDataConfig()
    encoder: WorldEncoderConfig = WorldEncoderConfig()
    jepa: WorldJEPAConfig = WorldJEPAConfig()
    predictor: WorldPredictorConfig = WorldPredictorConfig()
    decoder: WorldDecoderConfig = WorldDecoderConfig()

    @model_validator(mode="after")
    def _consistent(self) -> WorldConfig:
        shortest, longest = self.jepa.lag
        if not 1 <= shortest <= longest:
            raise ValueError(f"jepa.lag is {shortest} to {longest} frames; expected 1 <= shortest <= longest")
        needed = max(self.jepa.rollout * longest, self.predictor.rollout * longest, self.horizon)
        if self.data.frames <= needed:
            raise ValueError(
                f"data.frames is {self.data.frames}; rollouts and the horizon of {self.horizon} need more than {needed}"
            )
        return self


def world_config(world: str, observe: str, recipe: Document, changes: Document) -> WorldConfig:
    """The recipe with a user's changes on top, validated."""
    settings = merged(merged({"world": world, "observe": observe}, recipe), changes)
    return parse_section(WorldConfig, settings, "settings of the world")


def merged(base: Document, changes: Document) -> Document:
    """Nested settings with changes on top."""
    out = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(out.get(key), dict)
        out[key] = merged(out[key], value) if nested else value
    return out
