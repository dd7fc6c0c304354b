"""`latentmd simulate`: latent rollouts of a model, alone or by turns with OpenMM."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.sampling.conditions import (
    MODES,
    Mode,
    Settings,
    check_conditions,
    check_covered,
    cycle_length,
    given_model,
    matching_model,
    protocol_of,
)
from latentmd.sampling.rollout.md import check_protocol, md_plan
from latentmd.sampling.rollout.run import (
    Plan,
    Progress,
    RunResult,
    check_times,
    execute,
    minimised,
    picoseconds,
    processes_for,
)
from latentmd.sampling.workers import cores, share

if TYPE_CHECKING:
    from latentmd.model.file import Manifest
    from latentmd.model.propagator import Propagator
    from latentmd.systems.builder import Molecule, Solvent

_WALKERS_PER_BATCH = 8  # least number of walkers in a batch of a latent rollout
_MOST_BATCHES = 16


def load(name_or_path: str | Path, device: str = "auto") -> Propagator:
    """A model, ready to use: a bundled one by name, any other by path.

    Raises:
        BundleError: no such model, or a damaged or foreign file.
    """
    from latentmd.model.propagator import Propagator

    return Propagator(name_or_path, device)


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
    from latentmd.io.outputs import check_folder
    from latentmd.systems.builder import Protocol, build
    from latentmd.systems.platforms import platform_rates

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
    manifest, name, sha256 = given_model(s.model) if s.model else (None, "", "")
    probe = Protocol(s.solvent or "implicit", s.force_field) if manifest is None else protocol_of(manifest)
    molecule = build(pdb, probe)
    if manifest is None:
        manifest, name, sha256 = matching_model(molecule, pdb)
        if protocol_of(manifest) != molecule.protocol:
            molecule = build(pdb, protocol_of(manifest))
    check_covered(molecule, manifest, name, pdb)
    check_conditions(s, manifest, name)
    protocol = molecule.protocol
    check_times(s.time, s.interval, protocol.timestep)
    cycle = cycle_length(s, manifest, protocol)
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
    temperature = default.temperature if s.temperature is None else s.temperature
    protocol = Protocol(s.solvent or "implicit", s.force_field, temperature)
    check_protocol(protocol)
    plan = md_plan(pdb, s.out, protocol, s.time, s.interval, s.walkers, s.seed, s.processes, s.overwrite)
    plan.command = "simulate"
    return plan


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
    from latentmd.sampling.rollout.latent_jobs import AlternateJob, LatentJob

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
