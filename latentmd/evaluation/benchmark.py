"""`latentmd benchmark`: wall time of plain MD and of each part of a surrogate on this machine, in one run."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.evaluation import speed
from latentmd.evaluation.replica_speed import per_core, replica_row
from latentmd.evaluation.speed import Row
from latentmd.io.folder import results_folder
from latentmd.report import record

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.systems.builder import Molecule

Progress = Callable[[str], None]
SIZES = (1, 10, 100, 1000)  # alanine residues between caps: 22 to 10,012 atoms
_CYCLE = 500  # MD steps per latent step of the alternate mode
_ENCODER_ATOMS = 2000  # most atoms that the encoder is timed with: its memory grows as their square


class BenchmarkError(ValueError):
    """A benchmark that cannot be made; the message says why and what to do."""


def benchmark(
    pdb: str | Path,
    model: str | Path | None = None,
    *,
    out: str | Path | None = None,
    walkers: Sequence[int] = (1, 16, 64, 256, 1024),
    seconds: float = 0.6,
    max_atoms: int = 10_100,
    device: str = "auto",
    overwrite: bool = False,
    progress: Progress = lambda stage: None,
) -> dict[str, Any]:
    """Time plain OpenMM on each platform, the replica engine and every part of a surrogate, one after the other.

    Args:
        pdb: molecule.
        model: bundle or bundled model of that molecule; plain MD only where None.
        out: folder for benchmark.json and benchmark.png; nothing is written where None.
        walkers: numbers of walkers for the rollouts.
        seconds: wall time of each timing.
        max_atoms: largest peptide of the cost against atoms.
        device: "auto", "cpu" or "cuda", of the networks.
        overwrite: replace an earlier benchmark in `out`.
        progress: called with the name of each stage.

    Returns:
        The document written to benchmark.json; "rows" holds `Row` objects as mappings.

    Raises:
        BenchmarkError: the model covers another molecule.
        OutputError: the output folder cannot be used.
    """
    folder = None if out is None else results_folder(Path(out), overwrite, "benchmark.json")
    from latentmd.systems.builder import build

    progress("building the molecule")
    molecule = build(Path(pdb))
    rows = openmm_rows(molecule, seconds, progress)
    progress("plain MD, replica engine")
    rows.append(replica_row(molecule, seconds))
    replicas = per_core(molecule, seconds / 3)
    peak = None
    if model is not None:
        from latentmd.model.propagator import Propagator

        progress("loading the model")
        loaded = Propagator(model, device)
        try:
            propagator = loaded.arranged(molecule.topology, molecule.positions._value)
        except ValueError as error:
            raise BenchmarkError(f"{pdb}: {error}") from error
        progress("measuring the peak")
        peak = speed.matmul_peak(propagator.device.type, seconds)
        rows += surrogate_rows(propagator, molecule, walkers, seconds=seconds, peak=peak, progress=progress)
        rows += alternate_rows(propagator, molecule, seconds, progress)
    scan = size_rows(seconds, max_atoms, progress)
    progress("import times")
    imports = {s: speed.import_seconds(f"import {s}") for s in ("latentmd", "torch", "openmm")}
    document = _document(pdb, model, rows, scan=scan, peak=peak, imports=imports) | {"replicas_on_one_core": replicas}
    if folder is not None:
        record.write_json(folder / "benchmark.json", document)
        (folder / "benchmark.png").write_bytes(speed.plot(rows, scan))
    return document


def openmm_rows(molecule: Molecule, seconds: float, progress: Progress) -> list[Row]:
    """Plain MD on every platform of this machine that can run the molecule.

    Args:
        molecule: to simulate.
        seconds: wall time of each timing.
        progress: called with the name of each stage.
    """
    import openmm

    from latentmd.systems.platforms import platforms

    rows = []
    timestep = molecule.protocol.timestep
    for name in platforms():
        progress(f"plain MD, {name}")
        try:
            context = molecule.context(molecule.langevin(1), name)
            chunk = _steps_per_call(context)
        except openmm.OpenMMException as error:
            rows.append(
                Row(
                    f"plain MD, {name}",
                    "1 walker",
                    float("nan"),
                    unit="steps/s",
                    low=np.nan,
                    high=np.nan,
                    note=str(error),
                )
            )
            continue
        timed = speed.rate(partial(_run, context, chunk), seconds)
        values = [chunk * x for x in (timed.per_second, timed.low, timed.high)]
        threads = "one thread" if name == "Reference" else f"{os.cpu_count()} threads"
        simulated = values[0] * timestep / 1000
        rows.append(
            Row(
                f"plain MD, {name}", "1 walker", values[0], unit="steps/s", low=values[1], high=values[2],
                simulated=simulated, memory=speed.peak_memory(), note=threads,
            )
        )  # fmt: skip
    return rows


def _run(context: Any, steps: int) -> None:
    context.getIntegrator().step(steps)
    context.getState()  # waits for asynchronous platforms


def _steps_per_call(context: Any) -> int:
    """Number of steps that take some 20 ms, so that the overhead of a call does not count."""
    once = 1 / speed.rate(lambda: _run(context, 1), 0.05, 1).per_second
    return max(1, int(0.02 / once))


def surrogate_rows(
    propagator: Propagator, molecule: Molecule, walkers: Sequence[int], seconds: float, peak: float, progress: Progress
) -> list[Row]:
    """Encoder, decoder, energy head, latent rollouts and decoded rollouts of a model.

    Args:
        propagator: the surrogate.
        molecule: that it covers.
        walkers: numbers of walkers for the rollouts.
        seconds: wall time of each timing.
        peak: floating-point operations per second of a large matrix product, for the share of it that is reached.
        progress: called with the name of each stage.
    """
    device = propagator.device.type
    lag = propagator.lag_range[1]
    rng = np.random.Generator(np.random.Philox(0))
    frame = np.asarray(molecule.positions._value)
    rows = []

    def timed(name: str, count: int, call: Callable[[], Any], noun: str, unit: str, time: float = 0.0) -> None:
        progress(f"{name}, {count} {noun}")

        def whole() -> None:
            call()
            speed.synchronise(device)

        measured = speed.rate(whole, seconds)
        share = _share(call, measured.per_second, peak)
        values = [count * x for x in (measured.per_second, measured.low, measured.high)]
        simulated = values[0] * time / 1000 if time else None
        size = f"{count} {noun}" if count > 1 else f"1 {noun[:-1]}"
        memory = speed.peak_memory(device)
        rows.append(
            Row(
                name,
                size,
                values[0],
                unit=unit,
                low=values[1],
                high=values[2],
                simulated=simulated,
                share=share,
                memory=memory,
            )
        )

    for count in (1, 256):
        frames = np.repeat(frame[None], count, axis=0)
        slow = propagator.encode(frames)
        timed("encoder", count, partial(propagator.encode, frames), "frames", "frames/s")
        timed("decoder", count, partial(propagator.decode, slow, rng), "frames", "frames/s")
        timed("energy head", count, partial(propagator.energies, frames), "frames", "frames/s")
        both = partial(propagator.energy_and_forces, frames)
        timed("energy and forces", count, both, "frames", "frames/s")
    save = max(1, round(100.0 / lag))
    for count in walkers:
        slow = propagator.encode(np.repeat(frame[None], count, axis=0))
        step = partial(propagator.rollout, slow, lag, 1, rng)
        timed("latent rollout, raw", count, step, "walkers", "steps/s", time=lag)
    for count in walkers:
        slow = propagator.encode(np.repeat(frame[None], count, axis=0))

        def decoded(z: Any = slow) -> None:
            propagator.decode(propagator.rollout(z, lag, save, rng, every=save)[-1], rng)

        timed(f"rollout, decoded every {save * lag:g} ps", count, decoded, "walkers", "frames/s", time=save * lag)
    return rows


def _share(call: Callable[[], Any], per_second: float, peak: float) -> float | None:
    done = speed.operations(call)
    return done * per_second / peak if done > 0 and peak > 0 else None


def alternate_rows(propagator: Propagator, molecule: Molecule, seconds: float, progress: Progress) -> list[Row]:
    """Cycles of 500 MD steps and one latent step of the longest lag, in an OpenMM Simulation.

    Args:
        propagator: the surrogate.
        molecule: that it covers.
        seconds: wall time of each timing.
        progress: called with the name of each stage.
    """
    from openmm import Platform, System, XmlSerializer, app

    from latentmd.integrators.openmm_integrator import LatentIntegrator
    from latentmd.integrators.schedule import alternate
    from latentmd.systems.platforms import fastest_platform

    progress("alternate mode")
    system: System = XmlSerializer.deserialize(XmlSerializer.serialize(molecule.system))
    lag = propagator.lag_range[1]
    latent = LatentIntegrator(propagator.temperature, propagator.bundle, lag, system=system, topology=molecule.topology)
    integrator, schedule = alternate(molecule.langevin(1), latent, (_CYCLE, 1))
    name = fastest_platform(molecule)
    simulation = app.Simulation(molecule.topology, system, integrator, Platform.getPlatformByName(name))
    simulation.reporters.append(schedule)
    simulation.context.setPositions(molecule.positions)
    simulation.minimizeEnergy(maxIterations=100)
    per_cycle = _CYCLE * molecule.protocol.timestep + lag
    measured = speed.rate(lambda: simulation.step(_CYCLE + 1), seconds)
    return [Row(f"alternate, {_CYCLE} MD steps + 1 latent", "1 walker", measured.per_second, unit="cycles/s",
                low=measured.low, high=measured.high, simulated=measured.per_second * per_cycle / 1000,
                memory=speed.peak_memory())]  # fmt: skip


def size_rows(seconds: float, max_atoms: int, progress: Progress) -> list[dict[str, Any]]:
    """Cost against atoms: plain MD (OBC2) and one encoder pass on polyalanines of growing length.

    Args:
        seconds: wall time of each timing.
        max_atoms: largest peptide.
        progress: called with the name of each stage.
    """
    import tempfile

    from latentmd.systems.builder import build
    from latentmd.systems.peptide import backbone, pdb_block

    results: list[dict[str, Any]] = []
    for residues in SIZES:
        if 10 * residues + 12 > max_atoms:
            continue
        progress(f"cost against atoms, {10 * residues + 12}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "polyalanine.pdb"
            path.write_text(pdb_block(backbone(["ACE", *["ALA"] * residues, "NME"])))
            molecule = build(path)
        atoms = molecule.topology.getNumAtoms()
        row: dict[str, Any] = {"atoms": atoms}
        for name in ("Reference", "CPU", "CUDA"):
            if (name == "Reference" and atoms > 2000) or not _available(name):
                continue
            context = molecule.context(molecule.langevin(1), name)
            row[f"MD {name}, s/step"] = 1 / speed.rate(partial(_run, context, 1), seconds, 1).per_second
        if atoms <= _ENCODER_ATOMS:
            row["encoder, s/frame"] = 1 / _encoder_rate(molecule, seconds)
        row["peak memory, MiB"] = speed.peak_memory()
        results.append(row)
    return results


def _available(name: str) -> bool:
    from latentmd.systems.platforms import platforms

    return name in platforms()


def _encoder_rate(molecule: Molecule, seconds: float) -> float:
    """Frames per second of the default encoder of simulations; its cost does not depend on the weights."""
    import torch

    from latentmd.encoders.egnn import EGNNEncoder, MoleculeEncoder
    from latentmd.molecule.features import FEATURE_SIZES, molecule_graph

    graph = molecule_graph(molecule.topology)
    encoder = MoleculeEncoder(EGNNEncoder(FEATURE_SIZES), graph.features, graph.separation, graph.tokens).eval()
    positions = torch.as_tensor(np.asarray(molecule.positions._value)[None], dtype=torch.float32)
    with torch.no_grad():
        return speed.rate(lambda: encoder(positions), seconds, 1).per_second


def _document(
    pdb: str | Path, model: str | Path | None, rows: list[Row], scan: list[dict[str, Any]], peak: float | None,
    imports: dict[str, float],
) -> dict[str, Any]:  # fmt: skip
    from importlib.metadata import version

    import openmm

    document: dict[str, Any] = {
        "format": "latentmd-benchmark-1", "latentmd": version("latentmd"), "openmm": openmm.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"), "molecule": str(pdb),
        "model": None if model is None else str(model), "machine": platform.machine(), "cores": os.cpu_count(),
        "peak_gflops": peak, "import_seconds": imports, "rows": rows, "cost_against_atoms": scan,
    }  # fmt: skip
    if model is not None:
        import torch

        document |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    return document
