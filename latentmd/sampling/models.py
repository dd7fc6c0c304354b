"""Models that runs use, of one molecule or of many, and whether a molecule and its conditions are theirs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import openmm
from openmm import unit

from latentmd.arrays import Doubles
from latentmd.io.solute import read_solute, solute_reader
from latentmd.model import peptide_file
from latentmd.model.binding import bind
from latentmd.model.file import Manifest, bundled_models, find, read_manifest, read_sha256
from latentmd.molecule.matching import Answer
from latentmd.replicas.bonded import Bonded
from latentmd.sampling.run.options import WalkerOptions
from latentmd.sampling.run.preparation import Prepared, minimised
from latentmd.systems.builder import Molecule, MoleculeError, build
from latentmd.systems.own_force_field import is_own
from latentmd.systems.parametrise import load_force_field, parametrise
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions, Protocol, Solvent
from latentmd.systems.sanity import in_nm
from latentmd.units import percent

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_STRUCTURES = 3  # compared
_DISPLACEMENT = 0.003  # nm, of each coordinate: bonds, angles and contacts all change
_TOLERANCE = 1e-3  # of forces, relative to their root mean square: files round parameters to seven digits


def disagreement(molecule: Molecule, manifest: Manifest | peptide_file.PeptideManifest) -> str:
    """Why a molecule's own force field is not the one a model was trained with; empty where it is.

    A force field is compared by what it does, the forces of both on displaced structures, so that another form of a
    term is the same and a restraint is not; `latentmd.systems.agreement` compares terms, for a part of a System. One
    that latentmd assigned is compared by the names of its files, one that came as an OpenMM System by its identity.
    """
    ours, theirs = tuple(molecule.protocol.force_field_files), tuple(manifest.force_field)
    if ours == theirs:
        return ""
    if not molecule.own_force_field or is_own(theirs):
        came = "its own force field" if is_own(theirs) else ", ".join(theirs)
        return f"it was trained with {came}, not with {', '.join(molecule.own_force_field or ours)}"
    names = f"{', '.join(theirs)}, which the model was trained with"
    other = _expected_system(molecule, manifest)
    if isinstance(other, str):
        return f"{names}, does not describe it ({other})"
    start = in_nm(molecule.positions)
    frames = start + np.random.default_rng(0).normal(scale=_DISPLACEMENT, size=(_STRUCTURES, *start.shape))
    mine, expected = _forces(molecule.system, frames), _forces(other, frames)
    difference = float(np.sqrt(np.mean((mine - expected) ** 2) / np.mean(expected**2)))
    if difference < _TOLERANCE:
        return ""
    own = ", ".join(molecule.own_force_field)
    return f"the forces of {own} differ by {percent(difference, 1)} from those of {names}"


def _expected_system(molecule: Molecule, manifest: Manifest | peptide_file.PeptideManifest) -> Any:
    """System of the molecule under a model's force field, or a sentence on why there is none."""
    solvent: Any = manifest.solvent
    protocol = Protocol(solvent, tuple(manifest.force_field))
    try:
        return parametrise(molecule.topology, load_force_field(protocol), protocol)
    except MoleculeError as error:
        return str(error)


def _forces(system: Any, frames: Doubles) -> Doubles:
    """Forces in kJ/mol/nm of structures, shape (frames, atoms, 3)."""
    context = openmm.Context(system, openmm.VerletIntegrator(0.001), openmm.Platform.getPlatformByName("Reference"))
    found = []
    for frame in frames:
        context.setPositions(frame)
        found.append(context.getState(forces=True).getForces(asNumpy=True)._value)
    return np.array(found, dtype=np.float64)


#: File of a model of many molecules bound to the molecule of a run, in the run's folder.
BOUND = "model.pt"

_SAME_TEMPERATURE = 0.01  # K


@dataclass(frozen=True)
class OneMolecule:
    """A model of one molecule, by bundled name or path, not yet loaded."""

    name: str
    manifest: Manifest
    sha256: str

    def covers(self, molecule: Molecule, temperature: float | None = None) -> str:
        """Why the model does not hold for a molecule, the force field included; empty where it does.

        The structure tells stereoisomers apart; the temperature is left to `check_conditions`.
        """
        reason = coverage_of(molecule, self.manifest).reason
        return reason or (disagreement(molecule, self.manifest) if molecule.own_force_field else "")

    def check(self, molecule: Molecule, source: Path) -> None:
        """Refuse, with ValueError, a molecule or a force field of its own that the model was not trained on."""
        answer = coverage_of(molecule, self.manifest)
        covered = f"the model {self.name} does not cover {_sequence(molecule)} ({source}): {answer.reason}"
        if not answer and "handedness" in answer.reason:
            raise ValueError(
                f"{covered}; nothing is mirrored. Train a model of this stereoisomer with `latentmd md` and "
                "`latentmd train`, or use --mode md"
            )
        if not answer:
            raise ValueError(
                f"{covered}; `latentmd inspect` shows what it covers. Leave out --model to look for a bundled one, or "
                "train one with `latentmd md` and `latentmd train`"
            )
        why = disagreement(molecule, self.manifest) if molecule.own_force_field else ""
        if why:
            raise ValueError(
                f"the model {self.name} does not cover {source}: {why}. A model holds for its force field only: use "
                "--mode md or chains, or train one from `latentmd md` of these files"
            )

    def bind(self, ready: Prepared, folder: Path) -> OneMolecule:
        """The model itself."""
        return self

    @property
    def reference(self) -> Manifest | None:
        """What holds the statistics of its training data, which a report shows beside a run."""
        return self.manifest


@dataclass(frozen=True)
class ManyMolecules:
    """A model of many molecules, by the path of its file, not yet loaded."""

    name: str
    manifest: peptide_file.PeptideManifest
    sha256: str

    def covers(self, molecule: Molecule, temperature: float | None = None) -> str:
        """Why the model does not hold for a molecule at a temperature in K, None for its own; empty where it does."""
        files, positions = molecule.protocol.force_field_files, in_nm(molecule.positions)
        answer = self.manifest.coverage.covers(molecule.topology, temperature, files, positions)
        return f"{self.manifest.name}: {answer.reason}" if not answer else ""

    def check(self, molecule: Molecule, source: Path) -> None:
        """Refuse, with ValueError, a molecule that the model does not cover."""
        reason = self.covers(molecule)
        if reason:
            raise ValueError(f"no surrogate of {_sequence(molecule)} ({source}): {reason}; `latentmd train` makes one")

    def bind(self, ready: Prepared, folder: Path) -> OneMolecule:
        """The model bound to the molecule of a run, in the run's folder; an earlier session's is kept."""
        path = folder / BOUND
        if not path.exists():
            bind(ready.molecule.topology, ready.reference, path, self.name)
        return _one_molecule(path)

    @property
    def reference(self) -> Manifest | None:
        """None: it has seen no data of the molecule."""
        return None


Model = OneMolecule | ManyMolecules


def moves_alone(model: Model | None) -> bool:
    """Whether a model knows no force field of its molecule, so that no MD can go on from its structures."""
    return isinstance(model, OneMolecule) and not model.manifest.of_force_field


class UncoveredError(ValueError):
    """No bundled model covers a molecule, such as "ALA-ALA-ALA"; the message says how to make one, `reason` why."""

    def __init__(self, molecule: str, source: Path, bundled: list[str], why: str = "") -> None:
        found = f"no bundled model covers {molecule} ({source}; bundled: {', '.join(bundled) or 'none'})"
        self.reason, stem = f"{found}: {why}" if why else found, source.stem
        super().__init__(
            f"{self.reason}. Train one: `latentmd md {source} --time 100ns --out {stem}-md`, then `latentmd train "
            f"{stem}-md/walker-*.xtc --top {stem}-md/topology.pdb --out {stem}.pt`, then pass --model {stem}.pt; or "
            "simulate without a model: --mode md"
        )


def given_model(model: str) -> Model:
    """Find a model given by name or path and read its manifest."""
    if peptide_file.is_peptides(model):
        path, manifest = peptide_file.find_peptides(model), peptide_file.read_peptide_manifest(model)
        return ManyMolecules(str(path), manifest, peptide_file.peptides_sha256(model))
    return _one_molecule(find(model))


def of_one(model: Model, pdb: Path) -> OneMolecule:
    """Refuse a model of many peptides, whose states are those of no molecule."""
    if isinstance(model, OneMolecule):
        return model
    raise ValueError(
        f"{model.manifest.name} is a model of many peptides, which has no states until it is bound to one: run "
        f"`latentmd bind {pdb} --out {pdb.stem}.pt` first, then give --model {pdb.stem}.pt"
    )


def _one_molecule(path: Path) -> OneMolecule:
    return OneMolecule(str(path.resolve()), read_manifest(path), read_sha256(path))


def mended(propagator: Propagator, positions: Doubles, seeds: Sequence[int]) -> Doubles:
    """Structures [structures, atoms, 3] nm settled by the bonded model of the data; as they are where there is none."""
    record, order = propagator.manifest.training.get("bonded"), propagator.order
    if not record or not len(positions):
        return positions
    own = positions if order is None else positions[:, order]
    return propagator.returned(Bonded(**record).settled(own, propagator.temperature, seeds))


def solute_molecule(source: Path, manifest: Manifest, select: str = "") -> Molecule:
    """The solute in a file, without water and ions, with a System of its masses alone; ValueError for another one."""
    system, solute = read_solute(source, [], select)
    reader, atoms = solute_reader(source, system, solute)
    positions = next(iter(reader)).positions[0, atoms]
    answer = manifest.covers(solute.topology, positions)
    if not answer:
        choose = "; --select chooses the molecule of the model" if solute.molecules or solute.water else ""
        raise ValueError(f"{manifest.called} does not cover the molecule in {source}: {answer.reason}{choose}")
    topology, others = solute.topology.to_openmm(), solute.left_out
    notes = (f"{others} of {source.name} were left out: the model is of the solute alone",) * bool(others)
    masses = openmm.System()
    for atom in topology.atoms():
        masses.addParticle(atom.element.mass)
    shared = {name: getattr(manifest, name) for name in ("temperature", "friction", "timestep")}
    protocol = Protocol(cast("Solvent", manifest.solvent), tuple(manifest.force_field) or ("not known",), **shared)
    return Molecule(topology, masses, np.asarray(positions, dtype=np.float64) * unit.nanometer, protocol, notes=notes)


def bundled_model(molecule: Molecule, source: Path, temperature: float | None = None) -> Model:
    """The bundled model of a molecule, or that of many peptides where it covers the molecule at a temperature in K.

    None takes the model's temperature; UncoveredError where there is none.
    """
    names, why = bundled_models(), ""
    for name in names:
        model = OneMolecule(name, read_manifest(name), read_sha256(name))
        if model.manifest.covers(molecule.topology):
            why = model.covers(molecule)
            if not why:
                return model
    peptides = given_model(peptide_file.NAME)
    reason = why or peptides.covers(molecule, temperature)
    if reason:
        raise UncoveredError(_sequence(molecule), source, [*names, peptide_file.NAME], reason)
    return peptides


def coverage_of(molecule: Molecule, manifest: Manifest) -> Answer:
    """Whether the model of a manifest covers a molecule in its structure, which tells stereoisomers apart."""
    return manifest.covers(molecule.topology, in_nm(molecule.positions))


def reference_model(molecule: Molecule) -> Manifest | None:
    """The bundled model of this molecule and protocol, whose training data a report shows beside the run."""
    protocol = molecule.protocol
    for name in bundled_models():
        manifest = read_manifest(name)
        same = (manifest.solvent, manifest.temperature) == (protocol.solvent, protocol.temperature)
        if same and coverage_of(molecule, manifest) and not disagreement(molecule, manifest):
            return manifest
    return None


def _sequence(molecule: Molecule) -> str:
    names = [residue.name for residue in molecule.topology.residues()]
    return "-".join(names[:10]) + ("-..." if len(names) > 10 else "")


def check_conditions(s: WalkerOptions, model: Model) -> None:
    """Refuse, with ValueError, a temperature, solvent or force field other than those of the training data."""
    manifest, name = model.manifest, model.name
    out = "leave the option out" + ("" if moves_alone(model) else ", or use --mode md")
    if s.temperature is not None and abs(s.temperature - manifest.temperature) > _SAME_TEMPERATURE:
        raise ValueError(
            f"--temperature is {s.temperature:g} K; the model {name} was trained at {manifest.temperature:g} K and "
            f"holds only there: {out}, or train a model on MD at {s.temperature:g} K"
        )
    if s.solvent is not None and s.solvent != manifest.solvent:
        raise ValueError(f"--solvent is {s.solvent}; the model {name} was trained in {manifest.solvent} solvent: {out}")
    if s.force_field and list(s.force_field) != manifest.force_field:
        raise ValueError(
            f"--force-field is {', '.join(s.force_field)}; the model {name} was trained with "
            f"{', '.join(manifest.force_field) or 'one that is not known'}: {out}"
        )


def bind_file(
    pdb: str | Path,
    out: str | Path,
    model: str | Path = "peptides",
    inputs: InputOptions = DEFAULT_INPUTS,
    tilt: bool = False,
) -> Manifest:
    """Write a model file of one peptide from a model of many, which was not trained on it.

    Args:
        pdb: the peptide; missing hydrogens are added.
        out: model file to write.
        model: of many peptides, by name or path.
        inputs: choices where the file leaves one.
        tilt: learn weights that keep rollouts from drifting, some ten seconds of a core; steps then take longer.

    Returns:
        The manifest of the new file; `zero_shot` says how near the training set is.

    Raises:
        ValueError: the molecule or the model is wrong, or the model does not cover the molecule.
    """
    from latentmd.training.peptides.tilt import fit_tilt

    source = given_model(str(model))
    if isinstance(source, OneMolecule):
        raise ValueError(f"{model} is a model of one molecule, which needs no binding; expected one of many peptides")
    molecule = build(pdb, Protocol.of(source.manifest, inputs))
    source.check(molecule, Path(pdb))
    return bind(molecule.topology, minimised(molecule, "Reference"), out, source.name, fit=fit_tilt if tilt else None)
