"""Settings of the commands that fill in trajectories, and the ends of paths; times in ps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from latentmd.arrays import Doubles
from latentmd.io.folder import Policy, policy_of
from latentmd.sampling.conditions import ModelFile, of_one
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions

if TYPE_CHECKING:
    from latentmd.model.manifest import Manifest
    from latentmd.model.propagator import Propagator
    from latentmd.systems.builder import Molecule


@dataclass(frozen=True)
class PathsRequest:
    """Settings of `latentmd paths`.

    Attributes:
        pdbs: structures of the ends: both, the first, or none.
        origin, target: numbers from 1 of the states that stand for the ends without a structure.
        model: name or path; None for the bundled model that covers the molecule.
        time, interval: of a path, and between its frames.
        count: paths.
        seed: decides all randomness, with the number of a batch of paths.
        processes: worker processes; one per core where None.
        out, overwrite, resume: output folder, and whether to replace the run in it or to go on with it.
        inputs: choices where the file of the molecule leaves one.
    """

    pdbs: tuple[Path, ...]
    origin: int | None
    target: int | None
    model: str | None
    time: float
    interval: float
    count: int
    seed: int
    processes: int | None
    out: Path
    overwrite: bool = False
    resume: bool = False
    inputs: InputOptions = DEFAULT_INPUTS

    @property
    def frames(self) -> int:
        """Frames of a path after the first."""
        return round(self.time / self.interval)

    @property
    def policy(self) -> Policy:
        """What to do with a run in the output folder."""
        return policy_of(self.resume, self.overwrite)


@dataclass(frozen=True)
class Subject:
    """A molecule and the model that moves it.

    Attributes:
        molecule: under the model's protocol.
        model: the model's file.
        structures: relaxed structures of the ends that were given, nm, shape (atoms, 3) each.
        reference: structure that frames are laid on, nm, shape (atoms, 3).
    """

    molecule: Molecule
    model: ModelFile
    structures: tuple[Doubles, ...]
    reference: Doubles

    @property
    def manifest(self) -> Manifest:
        """Of the model."""
        return of_one(self.model)

    def propagator(self) -> Propagator:
        """The model, in the order of the molecule's atoms."""
        return model_of(self.model.name).arranged(self.molecule.topology, self.reference)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Median and upper limit of MD's potential energy, kJ/mol, where the model's file has them."""
        found = self.manifest.reference.energy_quantiles
        return None if found is None else (found[1], found[2])


@cache
def model_of(name: str) -> Propagator:
    """A model, loaded once for each process."""
    from latentmd.model.propagator import Propagator

    return Propagator(name, "cpu", threads=1)
