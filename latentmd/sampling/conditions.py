"""Whether a model can do what `latentmd simulate` was asked for: molecule, conditions, steps."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from latentmd.units import format_time

if TYPE_CHECKING:
    from latentmd.model.file import Manifest
    from latentmd.systems.builder import Molecule, Protocol, Solvent

Mode = Literal["alternate", "latent", "md"]
MODES: tuple[Mode, ...] = ("alternate", "latent", "md")

_CYCLE = 1000.0  # ps


@dataclass(frozen=True)
class Settings:
    """What `simulate` was asked for; times in ps.

    Attributes:
        model: name or path; None for the bundled model that covers the molecule.
        mode: alternate, latent or md.
        time, interval: per walker and between frames.
        walkers, seed, processes: independent runs, their seed, worker processes.
        temperature, solvent, force_field: None or empty for the model's.
        cycle, burst: of the alternation; None for the default cycle.
        device: of the model.
        out, overwrite: output folder.
    """

    model: str | None
    mode: Mode
    time: float
    interval: float
    walkers: int
    seed: int
    processes: int | None
    temperature: float | None
    solvent: Solvent | None
    force_field: tuple[str, ...]
    cycle: float | None
    burst: float
    device: str
    out: Path
    overwrite: bool


def given_model(model: str) -> tuple[Manifest, str, str]:
    """Manifest, path and hash of a model given by name or path."""
    from latentmd.model.file import find, read_manifest, read_sha256

    path = find(model)
    return read_manifest(path), str(path.resolve()), read_sha256(path)


def protocol_of(manifest: Manifest) -> Protocol:
    """The protocol that a model was trained under."""
    from latentmd.systems.builder import DEFAULT_FORCE_FIELDS, MoleculeError, Protocol

    if manifest.solvent not in DEFAULT_FORCE_FIELDS:
        raise MoleculeError(f"the model was trained in solvent {manifest.solvent!r}, which this latentmd does not know")
    default = Protocol()
    return Protocol(
        manifest.solvent,
        tuple(manifest.force_field),
        manifest.temperature,
        manifest.friction,
        manifest.timestep,
        default.hydrogen_mass if manifest.hydrogen_mass is None else manifest.hydrogen_mass,
    )


def matching_model(molecule: Molecule, pdb: Path) -> tuple[Manifest, str, str]:
    """Manifest, name and hash of the bundled model that covers a molecule.

    Raises:
        ValueError: there is none; how to make one.
    """
    from latentmd.model.file import bundled_models, read_manifest, read_sha256
    from latentmd.molecule.fingerprint import fingerprint

    found = fingerprint(molecule.topology)
    names = bundled_models()
    for name in names:
        manifest = read_manifest(name)
        if manifest.fingerprint == found:
            return manifest, name, read_sha256(name)
    stem = pdb.stem
    raise ValueError(
        f"no bundled model covers {_sequence(molecule)} ({pdb}; bundled: {', '.join(names) or 'none'}). Train one: "
        f"`latentmd md {pdb} --time 100ns --out {stem}-md`, then `latentmd train {stem}-md/walker-*.xtc "
        f"--top {stem}-md/topology.pdb --out {stem}.pt`, then pass --model {stem}.pt; or simulate without a model: "
        "--mode md"
    )


def _sequence(molecule: Molecule) -> str:
    names = [residue.name for residue in molecule.topology.residues()]
    return "-".join(names[:10]) + ("-..." if len(names) > 10 else "")


def check_covered(molecule: Molecule, manifest: Manifest, name: str, pdb: Path) -> None:
    """Refuse a molecule that the model was not trained on.

    Raises:
        ValueError: which molecules they are, and what to do.
    """
    from latentmd.molecule.fingerprint import fingerprint

    if fingerprint(molecule.topology) == manifest.fingerprint:
        return
    atoms = molecule.system.getNumParticles()
    raise ValueError(
        f"the model {name} does not cover {_sequence(molecule)} ({pdb}, {atoms} atoms): it was trained on another "
        f"molecule of {len(manifest.tokens)} atoms, or on another order or protonation of them; `latentmd inspect` "
        "shows which. Leave out --model to look for a bundled one, or train one with `latentmd md` and `latentmd train`"
    )


def check_conditions(s: Settings, manifest: Manifest, name: str) -> None:
    """Refuse conditions other than those of the training data.

    Raises:
        ValueError: which conditions they are, and what to do.
    """
    if s.temperature is not None and abs(s.temperature - manifest.temperature) > 0.01:
        raise ValueError(
            f"--temperature is {s.temperature:g} K; the model {name} was trained at {manifest.temperature:g} K and "
            f"holds only there: leave the option out, use --mode md, or train a model at {s.temperature:g} K"
        )
    if s.solvent is not None and s.solvent != manifest.solvent:
        raise ValueError(
            f"--solvent is {s.solvent}; the model {name} was trained in {manifest.solvent} solvent: "
            "leave the option out, or use --mode md"
        )
    if s.force_field and list(s.force_field) != manifest.force_field:
        raise ValueError(
            f"--force-field is {', '.join(s.force_field)}; the model {name} was trained with "
            f"{', '.join(manifest.force_field)}: leave the option out, or use --mode md"
        )


def cycle_length(s: Settings, manifest: Manifest, protocol: Protocol) -> float:
    """Length of a cycle in ps.

    Raises:
        ValueError: a latent step or burst in it cannot be made.
    """
    from latentmd.model.lags import split_time

    _check_step("--save-every", s.interval, manifest)
    if s.mode == "latent":
        return s.interval
    cycle = s.cycle if s.cycle is not None else s.interval * max(1, round(min(_CYCLE, s.time) / s.interval))
    if abs(round(cycle / s.interval) * s.interval - cycle) > 1e-6 or cycle < s.interval * (1 - 1e-9):
        raise ValueError(
            f"--cycle is {format_time(cycle)}; expected a multiple of --save-every, {format_time(s.interval)}"
        )
    if not protocol.timestep <= s.burst < cycle:
        raise ValueError(f"--burst is {format_time(s.burst)}; expected less than the cycle, {format_time(cycle)}")
    if abs(round(s.burst / protocol.timestep) * protocol.timestep - s.burst) > 1e-6:
        raise ValueError(
            f"--burst is {format_time(s.burst)}; expected a multiple of the time step, {format_time(protocol.timestep)}"
        )
    from latentmd.sampling.rollout.latent_jobs import cycle_plan

    for segment in cycle_plan(cycle, s.burst, s.interval):
        if segment.kind == "latent":
            try:
                split_time(segment.duration, manifest.lag)
            except ValueError as error:
                raise ValueError(
                    f"with --burst {format_time(s.burst)} the last latent step of a cycle would be "
                    f"{format_time(segment.duration)}; the model's steps are {_lags(manifest)}: change --burst"
                ) from error
    return cycle


def _check_step(option: str, time: float, manifest: Manifest) -> None:
    from latentmd.model.lags import split_time

    try:
        split_time(time, manifest.lag)
    except ValueError as error:
        raise ValueError(
            f"{option} is {format_time(time)}; the model's steps are {_lags(manifest)}: "
            f"expected a multiple of a step in that range, such as {format_time(manifest.lag[1])}"
        ) from error


def _lags(manifest: Manifest) -> str:
    return f"{format_time(manifest.lag[0])} to {format_time(manifest.lag[1])}"
