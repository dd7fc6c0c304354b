"""`latentmd md`: plain full-atom MD of independent walkers, the source of training data."""

from __future__ import annotations

import time as clock
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
    from latentmd.systems.builder import Molecule, Protocol, Solvent

_REPORT_SECONDS = 0.5  # between reports of a worker


def md(
    pdb: str | Path,
    *,
    time: str | float,
    out: str | Path,
    walkers: int = 4,
    save_every: str | float = "1ps",
    temperature: float = 350.0,
    solvent: Solvent = "implicit",
    force_field: Sequence[str] = (),
    friction: float = 1.0,
    timestep: str | float = "4fs",
    seed: int = 0,
    processes: int | None = None,
    overwrite: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Simulate plain MD and write one trajectory per walker.

    Every walker is minimised, given velocities of its own and equilibrated for 100 ps, and then starts at time zero.

    Args:
        pdb: the molecule.
        time: per walker; text with a unit, or ps.
        out: output folder.
        walkers: independent runs, in parallel over the cores.
        save_every: time between frames.
        temperature: kelvin.
        solvent: "implicit", "vacuum" or "explicit" (constant volume).
        force_field: OpenMM force-field XML files; the default of the solvent where empty.
        friction: of the Langevin thermostat, 1/ps.
        timestep: text with a unit, or ps.
        seed: with the number of the walker, decides all randomness.
        processes: worker processes; one per core where None.
        overwrite: replace an earlier run in `out`.
        progress: called with (stage, simulated ps, total ps).

    Raises:
        ValueError: a setting or the molecule is wrong.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    begin = clock.perf_counter()
    from latentmd.systems.builder import Protocol

    protocol = Protocol(solvent, tuple(force_field), temperature, friction, picoseconds(timestep))
    plan = md_plan(
        Path(pdb), Path(out), protocol, picoseconds(time), picoseconds(save_every), walkers, seed, processes, overwrite
    )
    plan.started = begin
    return execute(plan, progress)


def md_plan(
    pdb: Path,
    out: Path,
    protocol: Protocol,
    time: float,
    interval: float,
    walkers: int,
    seed: int,
    processes: int | None,
    overwrite: bool,
) -> Plan:
    """Check everything about a run of plain MD; times in ps."""
    from latentmd.io.outputs import check_folder
    from latentmd.sampling.rollout.jobs import MDJob
    from latentmd.systems.builder import build
    from latentmd.systems.platforms import platform_rates

    begin = clock.perf_counter()
    check_protocol(protocol)
    check_times(time, interval, protocol.timestep)
    count = processes_for(walkers, processes)
    check_folder(out, overwrite)
    molecule = build(pdb, protocol)
    threads = max(1, cores() // count)
    rates = platform_rates(molecule, threads)
    platform = max(rates, key=lambda name: rates[name])
    reference = minimised(molecule, platform)
    frames = round(time / interval)
    chunk = int(min(1000, max(1, _REPORT_SECONDS * rates[platform] * protocol.timestep / interval)))

    def jobs(folder: Path) -> list[Any]:
        return [
            MDJob(molecule, reference, folder, part, frames, interval, seed, platform, threads, chunk)
            for part in share(walkers, count)
        ]

    wall = {"preparation": clock.perf_counter() - begin}
    manifest = covering_model(molecule)
    return Plan(
        "md", molecule, reference, pdb, out, overwrite, time, interval, walkers, seed, count, platform, "md", jobs,
        manifest=manifest, wall=wall,
    )  # fmt: skip


def covering_model(molecule: Molecule) -> Manifest | None:
    """The bundled model made for this molecule under this protocol, whose reference the report shows beside the run."""
    from latentmd.model.file import bundled_models, read_manifest
    from latentmd.molecule.fingerprint import fingerprint

    found, protocol = fingerprint(molecule.topology), molecule.protocol
    for name in bundled_models():
        manifest = read_manifest(name)
        same = (manifest.solvent, manifest.temperature) == (protocol.solvent, protocol.temperature)
        if manifest.fingerprint == found and same and manifest.force_field == list(protocol.force_field_files):
            return manifest
    return None


def check_protocol(protocol: Protocol) -> None:
    """Refuse numbers that no simulation can have.

    Raises:
        ValueError: and what is expected.
    """
    if not 0 < protocol.temperature < 2000:
        raise ValueError(f"--temperature is {protocol.temperature:g} K; expected more than 0 and less than 2000 K")
    if not 0 < protocol.friction < 1000:
        raise ValueError(f"--friction is {protocol.friction:g}/ps; expected more than 0 and less than 1000/ps")
    if not 0 < protocol.timestep <= 0.005:
        raise ValueError(
            f"--timestep is {protocol.timestep * 1000:g} fs; expected more than 0 and at most 5 fs, which constrained "
            "hydrogens of 3 amu allow"
        )
