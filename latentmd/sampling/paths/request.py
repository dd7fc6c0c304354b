"""Settings of the commands that fill in trajectories, and the molecule that they fill in; times in ps."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import mdtraj
import numpy as np

from latentmd.analysis.features import FeatureSpec, feature_spec
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.io.progress import Progress
from latentmd.model.manifest import Manifest
from latentmd.molecule.matching import match
from latentmd.replicas.choice import replica_engine
from latentmd.sampling.models import OneMolecule, bundled_model, given_model, of_one, solute_molecule
from latentmd.sampling.paths.relax import RelaxedFrames, relax, settle
from latentmd.sampling.run.options import RunOptions
from latentmd.sampling.run.preparation import molecule_under, say_notes
from latentmd.systems.builder import Molecule
from latentmd.systems.protocol import InputOptions, Protocol
from latentmd.systems.sanity import in_nm
from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator


class RunKeywords(TypedDict, total=False):
    """Settings that `paths`, `upsample` and `inpaint` share.

    Attributes:
        model: name of a bundled model or path of one; the bundled one that covers the molecule where None.
        seed: decides all randomness; 0 where it is left out.
        processes: worker processes; one per core where None.
        out: output folder; `<stem>-<command>` where None.
        overwrite, resume: replace an earlier run in `out`, or go on with it.
        inputs: choices where the file of the molecule leaves one.
        progress: called with (stage, done, total).
    """

    model: str | Path | None
    seed: int
    processes: int | None
    out: str | Path | None
    overwrite: bool
    resume: bool
    inputs: InputOptions
    progress: Progress | None


def shared_options(folder: str, keywords: RunKeywords) -> dict[str, Any]:
    """Fields of `RunOptions` from the keywords of a command; TypeError for a keyword that no command has."""
    if unknown := sorted(set(keywords) - set(RunKeywords.__annotations__)):
        raise TypeError(f"unexpected keyword {unknown[0]!r}; expected one of {', '.join(RunKeywords.__annotations__)}")
    model, out = keywords.get("model"), keywords.get("out")
    named = {"model": None if model is None else str(model), "out": Path(folder if out is None else out)}
    return {name: value for name, value in keywords.items() if name != "progress"} | named


@dataclass(frozen=True, kw_only=True)
class PathsRequest(RunOptions):
    """Options of `latentmd paths`: structures of ends, states from 1 for ends without a structure; times in ps."""

    pdbs: tuple[Path, ...]
    origin: int | None
    target: int | None
    time: float
    interval: float
    count: int

    def __post_init__(self) -> None:
        if len(self.pdbs) > 2:
            raise ValueError(f"{len(self.pdbs)} PDB files; expected two, one with --to, or none with --from and --to")
        if self.count < 1:
            raise ValueError(f"--count is {self.count}; expected at least 1")
        if self.frames < 1 or abs(self.frames * self.interval - self.time) > 1e-6 * self.interval:
            fitting, asked = format_time(self.interval * max(1, self.frames)), format_time(self.time)
            step = format_time(self.interval)
            raise ValueError(f"--time is {asked}; expected a multiple of --every, {step}: try {fitting}")
        super().__post_init__()

    @property
    def frames(self) -> int:
        """Frames of a path after the first."""
        return round(self.time / self.interval)


NO_ENERGIES = (
    "The force field of the training data is not known: frames have no energies, and none was relaxed by MD;"
    " structure checks alone judge them."
)


@dataclass(frozen=True)
class Subject:
    """A molecule under the protocol of the model that moves it. Picklable."""

    molecule: Molecule
    model: OneMolecule
    structures: tuple[Doubles, ...]  # relaxed structures of the ends that were given, nm, shape (atoms, 3) each
    reference: Doubles  # structure that frames are laid on, nm, shape (atoms, 3)

    @property
    def manifest(self) -> Manifest:
        """Of the model."""
        return self.model.manifest

    @property
    def notes(self) -> list[str]:
        """What holds for every run of it."""
        return [] if self.manifest.of_force_field else [NO_ENERGIES]

    def relaxed(self, positions: Doubles) -> RelaxedFrames:
        """Structures [frames, atoms, 3] in nm, relaxed where a force field is known."""
        if self.manifest.of_force_field:
            return relax(self.molecule, positions, self.limits)
        return RelaxedFrames(positions, np.full(len(positions), np.nan), np.zeros(len(positions), dtype=bool))

    def settled(self, positions: Doubles, seed: int) -> tuple[Doubles, Doubles]:
        """Structures [frames, atoms, 3] in nm after a little MD, where a force field is known; energies in kJ/mol."""
        if self.manifest.of_force_field:
            return settle(self.molecule, positions, self.quads, seed)
        return positions, self.energies(positions)

    def energies(self, positions: Doubles) -> Doubles:
        """Potential energies [frames] in kJ/mol; not a number where the force field is not known."""
        if not self.manifest.of_force_field:
            return np.full(len(positions), np.nan)
        temperature = self.molecule.protocol.temperature
        return replica_engine(self.molecule.system, positions, temperature=temperature).energies()

    def propagator(self) -> Propagator:
        """The model, in the order of the molecule's atoms."""
        return _loaded(self.model.name).arranged(self.molecule.topology, self.reference)

    @property
    def limits(self) -> tuple[float, float] | None:
        """Median and upper limit of MD's potential energy, kJ/mol, where the model's file has them."""
        found = self.manifest.reference.energy_quantiles
        return None if found is None else (found[1], found[2])

    @cached_property
    def spec(self) -> FeatureSpec:
        """Torsions of the molecule, or distances where it has none."""
        return feature_spec(mdtraj.Topology.from_openmm(self.molecule.topology))

    @property
    def quads(self) -> Ints:
        """Atoms of the torsions, shape (torsions, 4)."""
        return self.spec.indices if self.spec.kind == "torsions" else np.zeros((0, 4), dtype=np.int64)

    def torsions(self, positions: Floats) -> Floats:
        """Torsions of positions [frames, atoms, 3] in nm: radians, shape (frames, torsions)."""
        count = len(self.spec.names) if self.spec.kind == "torsions" else 0
        return self.spec.values(positions)[:, :count]


@cache
def _loaded(name: str) -> Propagator:
    """A model, loaded once for each process."""
    from latentmd.model.propagator import Propagator

    return Propagator(name, "cpu", threads=1)


def subject_of(pdbs: tuple[Path, ...], model: str | None, inputs: InputOptions) -> Subject:
    """Read the files of one molecule (none: the model's own) and check that the model covers it; without a model, the
    bundled one that does. ValueError where they do not fit together, or the files hold different molecules.
    """
    if not pdbs:
        if model is None:
            raise ValueError(
                "nothing says which molecule; give PDB files of the two ends, or --model with --from and --to"
            )
        own = of_one(given_model(model), Path("A.pdb"))
        with tempfile.TemporaryDirectory() as folder:
            pdb = Path(folder) / "model.pdb"
            pdb.write_text(own.manifest.topology, encoding="utf-8")
            molecule = _built(own, pdb, inputs)
        return Subject(molecule, own, (), in_nm(molecule.positions))
    first, found = _first(pdbs[0], model, inputs)
    ends = [in_nm(first.positions)]
    ends += [_in_order_of(first, _built(found, pdb, inputs), pdbs[0], pdb) for pdb in pdbs[1:]]
    structures = Subject(first, found, (), ends[0]).relaxed(np.stack(ends)).positions
    return Subject(first, found, tuple(structures), structures[0])


def _first(pdb: Path, model: str | None, inputs: InputOptions) -> tuple[Molecule, OneMolecule]:
    if model is not None:
        found = of_one(given_model(model), pdb)
        molecule = _built(found, pdb, inputs)
        found.check(molecule, pdb)
        return molecule, found
    molecule = molecule_under(Protocol("implicit", inputs=inputs), pdb, None)
    found = of_one(bundled_model(molecule, pdb), pdb)
    return _built(found, pdb, inputs, molecule), found


def _built(model: OneMolecule, pdb: Path, inputs: InputOptions, molecule: Molecule | None = None) -> Molecule:
    """The molecule of a file under a model's protocol; its solute alone where no force field of that is known."""
    if model.manifest.of_force_field:
        return molecule_under(Protocol.of(model.manifest, inputs), pdb, molecule)
    found = solute_molecule(pdb, model.manifest, inputs.select)
    say_notes(found, pdb)
    return found


def _in_order_of(first: Molecule, other: Molecule, a: Path, b: Path) -> Doubles:
    """Positions of a molecule [atoms, 3], nm, in the order of the atoms of another file of it."""
    positions = in_nm(other.positions)
    answer = match(first.topology, other.topology, in_nm(first.positions), positions)
    if answer:
        return positions[list(answer.order)]
    names = ["-".join(residue.name for residue in molecule.topology.residues()) for molecule in (first, other)]
    raise ValueError(
        f"{a} holds {names[0]} and {b} holds {names[1]}: a path joins two structures of one molecule, and of the second"
        f" {answer.reason.replace('the molecule of the model', 'the first')}; give two files of the same molecule"
    )
