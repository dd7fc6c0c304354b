"""The manifest of a model file: what the model is, which molecules it covers and where it holds."""

from __future__ import annotations

import io
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from latentmd.arrays import Doubles, Floats
from latentmd.molecule.chemistry import Chemistry, Topology, chemistry, fingerprint
from latentmd.molecule.matching import Answer, match
from latentmd.molecule.stereo import difference, stereochemistry

if TYPE_CHECKING:
    from openmm import app

FORMAT: Literal["latentmd-torchscript-1"] = "latentmd-torchscript-1"
NO_ENERGY = (
    "a model of many peptides has no energy: its energy head does not transfer between molecules. Train a model of "
    "this molecule alone with `latentmd train TRAJECTORIES --top PDB`, which has one, or ask OpenMM for the energy"
)
UNKNOWN_ENERGY = (
    "the model has no energy: it was trained on a solute in explicit solvent, or in a force field that is not known."
    " Ask the engine that made the trajectories for energies"
)
UNITS = {"length": "nm", "time": "ps", "energy": "kJ/mol", "temperature": "K"}


class Ramachandran(BaseModel):
    """Counts of one residue's (phi, psi) over [-180, 180) degrees in the reference trajectories."""

    model_config = ConfigDict(extra="forbid")
    residue: str
    counts: list[list[int]]


class Reference(BaseModel):
    """What the training trajectories looked like: small enough to be drawn beside every run."""

    model_config = ConfigDict(extra="forbid")
    ramachandran: list[Ramachandran] = Field(default_factory=list)
    energy_quantiles: tuple[float, float, float] | None = None  # kJ/mol at 0.001, 0.5, 0.999
    timescale: float | None = None  # ps, slowest
    frames: int = 0


class Landmarks(BaseModel):
    """Where training data lie in the slow axes: centres of their frames [centres, axes], and the distance to the
    nearest of them that 99.9 % of held-out frames keep within.
    """

    model_config = ConfigDict(extra="forbid")
    centres: list[list[float]]
    limit: float

    def distances(self, slow: Floats) -> Doubles:
        """Distances of slow axes [..., axes] to the nearest centre, [...]."""
        from scipy.spatial import KDTree

        return np.asarray(KDTree(self.centres).query(slow)[0])


class ZeroShot(BaseModel):
    """How a model that was not trained on its molecule came to it, and how near its training set is.

    Attributes:
        nearest: training sequences that share most with it, each with the number of residues in place.
        pairs: share of its pairs of neighbours that some training sequence has.
        latent_distance: of its tokens to the nearest training token of their type, over the median of that distance
            between training tokens; the largest of the tokens. None where it was not measured.
    """

    model_config = ConfigDict(extra="forbid")
    model: str
    sha256: str
    sequence: str
    trained: bool
    nearest: list[tuple[str, int]] = Field(default_factory=list)
    pairs: float
    latent_distance: float | None = None


class Seal(BaseModel):
    """What every model file states; `seal` fills it in."""

    model_config = ConfigDict(extra="forbid")
    format: str
    created: str = ""
    versions: dict[str, str] = Field(default_factory=dict)
    weights_sha256: str = ""


class Manifest(Seal):
    """What a bundle is and where it holds. Times in ps, temperature in K, energies in kJ/mol.

    Attributes:
        topology: PDB text of the molecule the model covers, in the model's order of atoms.
        tokens: token (residue or cap) of each atom.
        slow_autocorrelations: of the propagated axes, at `autocorrelation_lag`.
        half_precision: parts whose weights are stored in float16, to save space; they are float32 once loaded.
        zero_shot: where a model of many molecules was bound to this one; None for a model trained on it alone.
    """

    format: Literal["latentmd-torchscript-1"] = FORMAT
    name: str = ""
    units: dict[str, str] = Field(default_factory=lambda: dict(UNITS))
    dtype: Literal["float32", "float64"] = "float32"
    topology: str = Field(min_length=1)
    fingerprint: str = Field(min_length=1)
    coverage: None = None  # that of the molecule alone
    tokens: list[int]
    lag: tuple[float, float]
    frame_interval: float = Field(gt=0)
    temperature: float = Field(gt=0)
    force_field: list[str]
    friction: float
    timestep: float = Field(gt=0)
    hydrogen_mass: float | None = None
    solvent: str
    split: dict[str, list[str]]
    seed: int
    slow_axes: int = Field(gt=0)
    slow_autocorrelations: list[float] = Field(default_factory=list)
    autocorrelation_lag: float | None = None
    metrics: dict[str, Any]
    reference: Reference = Field(default_factory=Reference)
    training: dict[str, Any] = Field(default_factory=dict)  # configuration and wall times
    half_precision: list[str] = Field(default_factory=list)
    zero_shot: ZeroShot | None = None

    @property
    def landmarks(self) -> Landmarks | None:
        """Where the training data lie; models of earlier versions and of many molecules do not say."""
        found = self.training.get("landmarks")
        return found and Landmarks.model_validate(found)

    def molecule(self) -> tuple[app.Topology, Floats]:
        """Molecule that the topology describes; see `molecule_of`."""
        return molecule_of(self.topology)

    @property
    def called(self) -> str:
        """The model as the subject of a sentence."""
        return f"model {self.name!r}" if self.name else "the model"

    @property
    def of_force_field(self) -> bool:
        """Whether a force field of the solute alone is known, so that MD can go on from the model's structures."""
        return self.solvent in ("implicit", "vacuum")

    @property
    def of_peptides(self) -> bool:
        """Whether it is a model of many peptides bound to this one: it has densities of steps, and no energies."""
        return self.zero_shot is not None or "fine_tuned" in self.training

    @property
    def no_energy(self) -> str:
        """Why the model has no energies; empty where it has."""
        if not self.of_force_field:
            return UNKNOWN_ENERGY
        return NO_ENERGY if self.of_peptides else ""

    def chemistry(self) -> Chemistry:
        """Elements, names and bonds of the molecule."""
        return chemistry(self.molecule()[0])

    def covers(self, topology: Topology, positions: Floats | None = None) -> Answer:
        """Whether, and in which order of atoms, a molecule is covered; positions [atoms, 3] nm tell handedness."""
        own, structure = self.molecule()
        if fingerprint(topology) == self.fingerprint:  # the same order: bonds need not be read from the text
            own = topology
        answer = match(own, topology, structure, positions)
        if not answer or positions is None:
            return answer
        why = difference(own, positions[list(answer.order)], stereochemistry(own, structure))
        return Answer(why) if why else answer


@lru_cache(maxsize=16)
def molecule_of(text: str) -> tuple[app.Topology, Floats]:
    """OpenMM topology and positions float32 [atoms, 3] in nm of the text of a PDB file."""
    from openmm import app

    file = app.PDBFile(io.StringIO(text))
    positions = np.asarray(file.getPositions(asNumpy=True)._value, dtype=np.float32)
    positions.flags.writeable = False
    return file.topology, positions


TOLERANCE = 1e-6  # relative, on time steps that went through unit conversions


def split_time(time: float, lag_range: tuple[float, float]) -> tuple[int, float]:
    """The fewest latent steps of equal lag within a range in ps that make up a time: (number of steps, lag in ps).

    ValueError: no number of steps gives a lag within the range.

    Example:
        >>> split_time(250.0, (50.0, 100.0))
        (3, 83.33333333333333)
    """
    shortest, longest = lag_range
    if time > 0 and math.isfinite(time):
        steps = max(1, math.ceil(time / longest * (1 - TOLERANCE)))
        lag = time / steps
        if lag >= shortest * (1 - TOLERANCE):
            return steps, min(max(lag, shortest), longest)
    raise ValueError(
        f"the model cannot make a step of {time:g} ps: its lags are {shortest:g} to {longest:g} ps; "
        f"expected a multiple of a lag in that range, such as {longest:g} ps"
    )
