"""`latentmd simulate`: latent rollouts of a model, alone or by turns with OpenMM."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from latentmd.units import format_time
from latentmd.workflows.md import check_protocol, md_plan
from latentmd.workflows.run import (
    Plan,
    Progress,
    RunResult,
    check_times,
    execute,
    minimised,
    picoseconds,
    processes_for,
)
from latentmd.workflows.workers import cores, share

if TYPE_CHECKING:
    from latentmd.bundle import Manifest
    from latentmd.propagator import Propagator
    from latentmd.systems.builder import Molecule, Protocol, Solvent

Mode = Literal["alternate", "latent", "md"]
MODES: tuple[Mode, ...] = ("alternate", "latent", "md")

_CYCLE = 1000.0  # ps
_WALKERS_PER_BATCH = 8  # least number of walkers in a batch of a latent rollout
_MOST_BATCHES = 16


def load(name_or_path: str | Path, device: str = "auto") -> Propagator:
    """A model, ready to use: a bundled one by name, any other by path.

    Raises:
        BundleError: no such model, or a damaged or foreign file.
    """
    from latentmd.propagator import Propagator

    return Propagator(name_or_path, device)


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


def simulate(
    pdb: str | Path,
    *,
    model: str | Path | None = None,
    time: str | float = "10ns",
    walkers: int = 16,
    mode: Mode = "alternate",
    temperature: float | None = None,
    save_every: str | float = "100ps",
    cycle: str | float | None = None,
    burst: str | float = "2ps",
    seed: int = 0,
    device: str = "auto",
    solvent: Solvent | None = None,
    force_field: Sequence[str] = (),
    processes: int | None = None,
    out: str | Path | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Simulate a molecule with a model and write one trajectory per walker.

    Args:
        pdb: the molecule.
        model: name of a bundled model or path of one; the bundled one that covers the molecule where None.
        time: per walker; text with a unit, or ps.
        walkers: independent runs.
        mode: "alternate" (latent steps and MD by turns), "latent" (latent steps only) or "md" (plain MD).
        temperature: kelvin; must be the model's, except in mode "md".
        save_every: time between frames.
        cycle: length of one cycle of alternation, a multiple of save_every; about 1 ns where None.
        burst: MD at the end of each cycle.
        seed: with the number of the walker, decides all randomness.
        device: of the model: "auto", "cpu" or "cuda".
        solvent: must be the model's, except in mode "md".
        force_field: OpenMM force-field XML files; must be the model's, except in mode "md".
        processes: worker processes; one per core where None.
        out: output folder; `<stem>-latentmd` where None.
        overwrite: replace an earlier run in `out`.
        progress: called with (stage, simulated ps, total ps).

    Raises:
        ValueError: a setting, the molecule or the model is wrong, or they do not fit together.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    begin = clock.perf_counter()
    settings = Settings(
        model=None if model is None else str(model),
        mode=mode,
        time=picoseconds(time),
        interval=picoseconds(save_every),
        walkers=walkers,
        seed=seed,
        processes=processes,
        temperature=temperature,
        solvent=solvent,
        force_field=tuple(force_field),
        cycle=None if cycle is None else picoseconds(cycle),
        burst=picoseconds(burst),
        device=device,
        out=Path(f"{Path(pdb).stem}-latentmd" if out is None else out),
        overwrite=overwrite,
    )
    plan = simulate_plan(Path(pdb), settings)
    plan.started = begin
    return execute(plan, progress)


def simulate_plan(pdb: Path, s: Settings) -> Plan:
    """Check everything about a run."""
    from latentmd.systems.builder import Protocol, build
    from latentmd.systems.platforms import platform_rates
    from latentmd.workflows.outputs import check_folder

    begin = clock.perf_counter()
    if s.mode not in MODES:
        raise ValueError(f"--mode is {s.mode!r}; expected one of {', '.join(MODES)}")
    if s.mode == "md":
        return _plain_md(pdb, s)
    count = processes_for(s.walkers, s.processes)
    check_folder(s.out, s.overwrite)
    if s.solvent == "explicit":
        raise ValueError(
            "a model moves the molecule alone and cannot move the water around it, so latent steps in explicit solvent "
            "would overlap with it; use --mode md (or latentmd md) with --solvent explicit, or implicit solvent"
        )
    manifest, name, sha256 = _given_model(s.model) if s.model else (None, "", "")
    probe = Protocol(s.solvent or "implicit", s.force_field) if manifest is None else _protocol(manifest)
    molecule = build(pdb, probe)
    if manifest is None:
        manifest, name, sha256 = _matching_model(molecule, pdb)
        if _protocol(manifest) != molecule.protocol:
            molecule = build(pdb, _protocol(manifest))
    _check_covered(molecule, manifest, name, pdb)
    _check_conditions(s, manifest, name)
    protocol = molecule.protocol
    check_times(s.time, s.interval, protocol.timestep)
    cycle = _cycle(s, manifest, protocol)
    threads = max(1, cores() // count)
    rates = platform_rates(molecule, threads)
    platform = max(rates, key=lambda key: rates[key])
    reference = minimised(molecule, platform)
    make_jobs = _jobs(s, molecule, reference, manifest, name, cycle, count, platform, threads)
    extra = {"device": s.device} | ({"cycle_ps": cycle, "burst_ps": s.burst} if s.mode == "alternate" else {})
    return Plan(
        "simulate", molecule, reference, pdb, s.out, s.overwrite, s.time, s.interval, s.walkers, s.seed, count,
        platform, s.mode, make_jobs, extra, manifest, sha256, {"preparation": clock.perf_counter() - begin},
    )  # fmt: skip


def _plain_md(pdb: Path, s: Settings) -> Plan:
    from latentmd.systems.builder import Protocol

    if s.model is not None:
        raise ValueError("--mode md uses no model; leave out --model, or choose --mode alternate or latent")
    default = Protocol()
    protocol = Protocol(s.solvent or "implicit", s.force_field, s.temperature or default.temperature)
    check_protocol(protocol)
    plan = md_plan(pdb, s.out, protocol, s.time, s.interval, s.walkers, s.seed, s.processes, s.overwrite)
    plan.command = "simulate"
    return plan


def _given_model(model: str) -> tuple[Manifest, str, str]:
    from latentmd.bundle import find, read_manifest, read_sha256

    path = find(model)
    return read_manifest(path), str(path.resolve()), read_sha256(path)


def _protocol(manifest: Manifest) -> Protocol:
    from latentmd.systems.builder import DEFAULT_FORCE_FIELDS, MoleculeError, Protocol

    if manifest.solvent not in DEFAULT_FORCE_FIELDS:
        raise MoleculeError(f"the model was trained in solvent {manifest.solvent!r}, which this latentmd does not know")
    default = Protocol()
    return Protocol(
        manifest.solvent,  # type: ignore[arg-type]
        tuple(manifest.force_field),
        manifest.temperature,
        manifest.friction,
        manifest.timestep,
        default.hydrogen_mass if manifest.hydrogen_mass is None else manifest.hydrogen_mass,
    )


def _matching_model(molecule: Molecule, pdb: Path) -> tuple[Manifest, str, str]:
    from latentmd.bundle import bundled_models, read_manifest, read_sha256
    from latentmd.data.fingerprint import fingerprint

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
        f"--top {stem}-md/topology.pdb --out {stem}.pt`, then pass --model {stem}.pt; or simulate without a model: --mode md"
    )


def _sequence(molecule: Molecule) -> str:
    names = [residue.name for residue in molecule.topology.residues()]
    return "-".join(names[:10]) + ("-..." if len(names) > 10 else "")


def _check_covered(molecule: Molecule, manifest: Manifest, name: str, pdb: Path) -> None:
    from latentmd.data.fingerprint import fingerprint

    if fingerprint(molecule.topology) == manifest.fingerprint:
        return
    atoms = molecule.system.getNumParticles()
    raise ValueError(
        f"the model {name} does not cover {_sequence(molecule)} ({pdb}, {atoms} atoms): it was trained on another "
        f"molecule of {len(manifest.tokens)} atoms, or on another order or protonation of them; `latentmd inspect` "
        "shows which. Leave out --model to look for a bundled one, or train one with `latentmd md` and `latentmd train`"
    )


def _check_conditions(s: Settings, manifest: Manifest, name: str) -> None:
    if s.temperature is not None and abs(s.temperature - manifest.temperature) > 0.01:
        raise ValueError(
            f"--temperature is {s.temperature:g} K; the model {name} was trained at {manifest.temperature:g} K and holds "
            f"only there: leave the option out, use --mode md, or train a model at {s.temperature:g} K"
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


def _cycle(s: Settings, manifest: Manifest, protocol: Protocol) -> float:
    """Length of a cycle in ps, once every latent step and burst in it can be made."""
    from latentmd.lags import split_time

    _check_step("--save-every", s.interval, manifest)
    if s.mode == "latent":
        return s.interval
    cycle = s.cycle if s.cycle is not None else s.interval * max(1, round(_CYCLE / s.interval))
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
    from latentmd.workflows.jobs import cycle_plan

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
    from latentmd.lags import split_time

    try:
        split_time(time, manifest.lag)
    except ValueError as error:
        raise ValueError(
            f"{option} is {format_time(time)}; the model's steps are {_lags(manifest)}: "
            f"expected a multiple of a step in that range, such as {format_time(manifest.lag[1])}"
        ) from error


def _lags(manifest: Manifest) -> str:
    return f"{format_time(manifest.lag[0])} to {format_time(manifest.lag[1])}"


def _jobs(
    s: Settings,
    molecule: Molecule,
    reference: Any,
    manifest: Manifest,
    name: str,
    cycle: float,
    count: int,
    platform: str,
    threads: int,
) -> Any:
    from latentmd.workflows.jobs import AlternateJob, LatentJob

    frames = round(s.time / s.interval)
    limits = manifest.reference.energy_quantiles

    def make(folder: Path) -> list[Any]:
        shared = (frames, s.interval, s.seed, platform, threads)
        if s.mode == "alternate":
            energies = (limits[1], limits[2]) if limits else None
            return [
                AlternateJob(molecule, reference, folder, part, *shared, name, s.device, cycle, s.burst, energies)
                for part in share(s.walkers, count)
            ]
        # Batches depend on the number of walkers only, so that results do not depend on the number of processes.
        size = max(_WALKERS_PER_BATCH, -(-s.walkers // _MOST_BATCHES))
        batches = [tuple(range(first, min(first + size, s.walkers))) for first in range(0, s.walkers, size)]
        parts = [tuple(batches[first::count]) for first in range(min(count, len(batches)))]
        return [
            LatentJob(molecule, reference, folder, [w for b in part for w in b], *shared, name, s.device, part)
            for part in parts
        ]

    return make
