"""Validated training configuration: TOML in, frozen models out. An unknown key is an error that names the nearest."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from latentmd.training.parts import encoder_of, predictor_of


class ConfigError(ValueError):
    """A configuration that cannot be used; the message names the key and what was expected."""


Settings = TypeVar("Settings", bound="ConfigSection")


class ConfigSection(BaseModel):
    """Settings that nothing changes and that know no keys but their own."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def known_kind(part_of: Callable[[str, bool], object], of_molecules: bool = True) -> AfterValidator:
    """Validator of the kind of a part: `part_of` (`predictor_of`, `encoder_of`) refuses one that there is not."""

    def checked(kind: str) -> str:
        part_of(kind, of_molecules)
        return kind

    return AfterValidator(checked)


class EncoderConfig(ConfigSection):
    """Message-passing encoder: "egnn" over all pairs of atoms, "graph" over those within `cutoff` nm."""

    kind: Annotated[str, known_kind(encoder_of)] = "egnn"
    cutoff: float = Field(0.6, gt=0)
    token_dim: int = Field(16, ge=2)
    width: int = Field(48, ge=8)
    depth: int = Field(3, ge=1)
    vectors: int = Field(6, ge=3)


class Steps(ConfigSection):
    """Steps of a stage, examples in each, and the peak learning rate."""

    steps: int = Field(1500, ge=1)
    batch: int = Field(256, ge=8)
    learning_rate: float = Field(2e-3, gt=0)


class EmbeddingSettings(Steps):
    """Joint-embedding prediction of anything: momentum of the target, matching of latents, and what keeps them apart.

    `ema` is the momentum of the target encoder at the start (None: the encoder is its own target). `variance` and
    `covariance` weigh the first objective, `sigreg` the second. `rollout` is the number of predicted steps per window;
    `mask` the share of context tokens that are hidden; below `minimum_rank` of the latent the training fails.
    """

    rollout: int = Field(2, ge=1)
    ema: float | None = Field(0.99, ge=0, le=1)
    matching: Literal["mse", "cosine"] = "mse"
    objective: Literal["variance-covariance", "sigreg"] = "variance-covariance"
    variance: float = Field(1.0, ge=0)
    covariance: float = Field(0.04, ge=0)
    sigreg: float = Field(0.1, ge=0)
    regularise: Literal["context", "sequence"] = "context"
    mask: float = Field(0.0, ge=0, lt=1)
    minimum_rank: float = Field(1.5, ge=1)


class JEPAConfig(EmbeddingSettings):
    """Stage 1: joint-embedding prediction. Lags in ps.

    `spectral` weighs a term that teaches `spectral_features` linear read-outs of the latent the leading eigenfunctions
    of the transfer operator.
    """

    steps: int = Field(4000, ge=1)
    batch: int = Field(32, ge=8)
    learning_rate: float = Field(3e-3, gt=0)
    lag: tuple[float, float] = (1.0, 20.0)
    ground: float = Field(1.0, ge=0)
    spectral: float = Field(0.3, ge=0)
    spectral_features: int = Field(6, ge=1)
    predictor_width: int = Field(96, ge=8)


class LatentConfig(ConfigSection):
    """Slow/fast split: axes whose autocorrelation at `lag` ps exceeds `threshold` are propagated.

    So are the axes that carry torsions with a circular deviation above `soft_torsion` degrees (180 for none).
    """

    lag: float = Field(1.0, gt=0)
    threshold: float = Field(0.25, gt=0, lt=1)
    slow_axes: tuple[int, int] = (2, 8)
    soft_torsion: float = Field(20.0, gt=0, le=180)


class DecoderConfig(Steps):
    """Stage 2: axes to internal coordinates, by a network or, with a width of 0, a linear read-out without steps."""

    steps: int = Field(4000, ge=1)
    batch: int = Field(1024, ge=8)
    width: int = Field(256, ge=0)


class FlowConfig(Steps):
    """A conditional flow (or mixture) network and its training."""

    steps: int = Field(6000, ge=1)
    batch: int = Field(2048, ge=8)
    learning_rate: float = Field(1e-3, gt=0)
    width: int = Field(128, ge=8)
    depth: int = Field(3, ge=1)
    solver_steps: int = Field(4, ge=1)
    average: float = Field(0.99, ge=0, lt=1)


class PredictorConfig(FlowConfig):
    """Stage 3: stochastic predictor of the slow axes, for lags (ps) log-uniform in a range."""

    kind: Annotated[str, known_kind(predictor_of)] = "flow"
    lag: tuple[float, float] = (10.0, 200.0)
    cells: int = Field(24, ge=1)
    components: int = Field(24, ge=1)
    time_reversal: bool = True


class EnergyConfig(Steps):
    """Energy heads, fitted to engine energies and forces of `frames` training frames.

    A force-field form is fitted first. A network is trained on what it leaves, for `steps`, only where its force error,
    on labelled frames outside the fit, exceeds `tolerance` as a share of the force RMS.
    """

    frames: int = Field(30000, ge=100)
    tolerance: float = Field(0.05, ge=0)
    steps: int = Field(600, ge=1)
    batch: int = Field(96, ge=4)
    force_weight: float = Field(10.0, ge=0)
    latent_steps: int = Field(1500, ge=1)


class TrainingConfig(ConfigSection):
    """All of a training run. Times are in ps, lengths in nm, energies in kJ/mol.

    Of a solute in `explicit` solvent, or in one that is `unknown`, the energy is not known, and none is learnt.
    """

    seed: int = 0
    stride: float = Field(1.0, gt=0, description="spacing of the frames that are used, ps")
    holdout: int = Field(1, ge=0, description="trajectories kept out for validation, the last ones given")
    temperature: float = Field(350.0, gt=0)
    friction: float = Field(1.0, gt=0)
    timestep: float = Field(0.004, gt=0)
    hydrogen_mass: float = Field(3.0, gt=0)
    solvent: Literal["implicit", "vacuum", "explicit", "unknown"] = "implicit"
    force_field: tuple[str, ...] = ()
    encoder: EncoderConfig = EncoderConfig()
    jepa: JEPAConfig = JEPAConfig()
    latent: LatentConfig = LatentConfig()
    decoder: DecoderConfig = DecoderConfig()
    fast: FlowConfig = FlowConfig(width=192)
    predictor: PredictorConfig = PredictorConfig()
    energy: EnergyConfig = EnergyConfig()

    @property
    def has_energy(self) -> bool:
        """Whether positions of the solute alone tell its potential energy."""
        return self.solvent in ("implicit", "vacuum")

    @model_validator(mode="after")
    def _lags_in_order(self) -> TrainingConfig:
        for name, (shortest, longest) in {"jepa.lag": self.jepa.lag, "predictor.lag": self.predictor.lag}.items():
            if not self.stride <= shortest <= longest:
                raise ValueError(
                    f"{name} is {shortest} to {longest} ps; expected stride ({self.stride}) <= shortest <= longest"
                )
        return self


def load_config(path: str | Path | None) -> TrainingConfig:
    """Read and validate a TOML file; None gives the defaults.

    Raises:
        ConfigError: the file is missing, is not TOML, or has an unknown key or a value out of range.
    """
    return TrainingConfig() if path is None else parse_config(read_toml(path), str(path))


def read_toml(path: str | Path) -> dict[str, Any]:
    """The content of a TOML file.

    Raises:
        ConfigError: the file is missing or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise ConfigError(f"{path}: no such configuration file") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path}: not a readable TOML file ({error})") from error


def parse_config(data: dict[str, Any], source: str = "configuration") -> TrainingConfig:
    """Validate a dictionary in the shape of the TOML file."""
    return parse_section(TrainingConfig, data, source)


def parse_section(schema: type[Settings], data: dict[str, Any], source: str) -> Settings:
    """Validate keys and values from a source as a section; ConfigError names each unknown key and wrong value."""
    try:
        return schema.model_validate(data)
    except ValidationError as error:
        raise ConfigError(f"{source}: " + "; ".join(_explain(schema, e) for e in error.errors())) from error


def _explain(schema: type[BaseModel], error: Any) -> str:
    location = [str(part) for part in error["loc"]]
    key = ".".join(location)
    if error["type"] != "extra_forbidden":
        return f"{key or 'value'}: {error['msg']} (found {error['input']!r})" if key else str(error["msg"])
    section: Any = schema
    for part in location[:-1]:
        section = section.model_fields[part].annotation
    names = list(section.model_fields)
    near = difflib.get_close_matches(location[-1], names, n=1)
    hint = f"did you mean {'.'.join([*location[:-1], near[0]])!r}?" if near else f"known keys: {', '.join(names)}"
    return f"unknown key {key!r}; {hint}"
