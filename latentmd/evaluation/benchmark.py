"""`latentmd benchmark`: wall time of plain MD and of each part of a surrogate on this machine, in one run."""

from __future__ import annotations

import math
import os
import platform
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path

import numpy as np
import openmm
import torch
from openmm import Platform, System, XmlSerializer, app
from torch import Tensor

from latentmd.analysis.metric import Document
from latentmd.arrays import Doubles
from latentmd.encoders.egnn import EGNNEncoder, MoleculeEncoder
from latentmd.evaluation import speed
from latentmd.evaluation.speed import Row, per_core, replica_row, run_steps
from latentmd.integrators.openmm_integrator import LatentIntegrator
from latentmd.integrators.openmm_selection import sub_topology
from latentmd.integrators.schedule import alternate
from latentmd.io.folder import results_folder
from latentmd.model.file import read_manifest
from latentmd.model.propagator import Propagator
from latentmd.molecule.chemistry import Topology
from latentmd.molecule.features import FEATURE_SIZES, molecule_graph
from latentmd.report.page import write_json
from latentmd.systems.builder import WATER, Molecule, Protocol, build
from latentmd.systems.molecule import fastest_platform, platforms
from latentmd.systems.peptide import backbone, pdb_block

SIZES = (1, 10, 100, 1000)  # alanine residues between caps: 22 to 10,012 atoms
_RELAXATION = 100  # steps
_CYCLE = 500  # MD steps per latent step of the alternate mode
_ENCODER_ATOMS = 2000  # most atoms that the encoder is timed with: its memory grows as their square


class BenchmarkError(ValueError):
    """A benchmark that cannot be made; the message says why and what to do."""


@dataclass(frozen=True)
class BenchmarkSettings:
    """Settings of a benchmark."""

    walkers: tuple[int, ...] = (1, 16, 64, 256, 1024)  #: numbers of them, for the rollouts
    seconds: float = 0.6  #: wall time of each timing
    max_atoms: int = 10_100  #: of the largest peptide of the cost against atoms
    device: str = "auto"  #: of the networks, "auto", "cpu" or "cuda"


def benchmark(
    pdb: str | Path,
    model: str | Path | None = None,
    *,
    out: str | Path | None = None,
    settings: BenchmarkSettings = BenchmarkSettings(),
    overwrite: bool = False,
    progress: Callable[[str], None] = lambda stage: None,
) -> Document:
    """Time plain OpenMM on each platform, the replica engine and every part of a surrogate, one after the other.

    Args:
        pdb: molecule; with its water for a model of a solute in water, whose MD is then that of the whole box.
        model: bundle or bundled model of that molecule; plain MD only where None.
        out: folder for benchmark.json and benchmark.png; nothing is written where None.
        settings: what is timed, and for how long.
        overwrite: replace an earlier benchmark in `out`.
        progress: called with the name of each stage.

    Returns:
        The document written to benchmark.json; "rows" holds `Row` objects as mappings.

    Raises:
        BenchmarkError: the model covers another molecule.
        OutputError: the output folder cannot be used.
    """
    folder = None if out is None else results_folder(Path(out), overwrite, "benchmark.json")
    progress("building the molecule")
    wet = model is not None and read_manifest(model).solvent == "explicit"
    molecule, seconds = build(Path(pdb), Protocol("explicit") if wet else Protocol()), settings.seconds
    rows = _openmm_rows(molecule, seconds, progress)
    progress("plain MD, replica engine")
    rows.append(replica_row(molecule, seconds))
    replicas = per_core(molecule, seconds / 3, rounds=3)
    peak = None
    if model is not None:
        progress("loading the model")
        solute, start = _solute(molecule)
        try:
            propagator = Propagator(model, settings.device).arranged(solute, start)
        except ValueError as error:
            raise BenchmarkError(f"{pdb}: {error}") from error
        progress("measuring the peak")
        peak = speed.matmul_peak(propagator.device.type, seconds)
        rows += _Surrogate(propagator, molecule, start, seconds, peak=peak, progress=progress).rows(settings.walkers)
    scan = _size_rows(seconds, settings.max_atoms, progress)
    progress("import times")
    imports = {s: speed.import_seconds(f"import {s}") for s in ("latentmd", "torch", "openmm")}
    document = _machine(pdb, model) | {
        "peak_gflops": peak, "import_seconds": imports, "rows": rows, "cost_against_atoms": scan,
        "replicas_on_one_core": replicas,
    }  # fmt: skip
    if folder is not None:
        write_json(folder / "benchmark.json", document)
        (folder / "benchmark.png").write_bytes(speed.plot(rows, scan))
    return document


def _solute(molecule: Molecule) -> tuple[Topology, Doubles]:
    """What a model is of, without the water around it, and its positions [atoms, 3] in nm."""
    atoms = [atom.index for atom in molecule.topology.atoms() if atom.residue.name not in WATER]
    return sub_topology(molecule.topology, atoms), np.asarray(molecule.positions._value, dtype=np.float64)[atoms]


def _openmm_rows(molecule: Molecule, seconds: float, progress: Callable[[str], None]) -> list[Row]:
    """Plain MD on every platform of this machine that can run the molecule."""
    rows = []
    for name in platforms():
        progress(f"plain MD, {name}")
        try:
            context = molecule.context(molecule.langevin(1), name)
            if molecule.box() is not None:  # water that was added is not at rest
                openmm.LocalEnergyMinimizer.minimize(context, maxIterations=_RELAXATION)
            # So many steps a call that they take some 20 ms, and the overhead of a call does not count.
            chunk = max(1, int(0.02 * speed.rate(partial(run_steps, context, 1), 0.05, 1).per_second))
        except openmm.OpenMMException as error:
            rows.append(Row(f"plain MD, {name}", "1 walker", math.nan, "steps/s", note=str(error)))
            continue
        timed = speed.rate(partial(run_steps, context, chunk), seconds)
        note = "one thread" if name == "Reference" else f"{os.cpu_count()} threads"
        step = molecule.protocol.timestep
        rows.append(Row.of(f"plain MD, {name}", "1 walker", timed, chunk, "steps/s", step=step, note=note))
    return rows


@dataclass(frozen=True)
class _Surrogate:
    """Encoder, decoder, energy head, latent rollouts, decoded rollouts and alternation of a model."""

    propagator: Propagator
    molecule: Molecule
    start: Doubles
    seconds: float
    peak: float
    progress: Callable[[str], None]

    def rows(self, walkers: Sequence[int]) -> list[Row]:
        """All rows; rollouts with each number of walkers."""
        p, lag, rng = self.propagator, self.propagator.lag_range[1], np.random.Generator(np.random.Philox(0))
        frame, rows = self.start[None], []
        for count in (1, 256):
            frames = np.repeat(frame, count, axis=0)
            calls: dict[str, Callable[[], object]] = {"encoder": partial(p.encode, frames)}
            calls["decoder"] = partial(p.decode, p.encode(frames), rng)
            if not p.manifest.no_energy:
                calls["energy head"] = partial(p.energies, frames)
                calls["energy and forces"] = partial(p.energy_and_forces, frames)
            rows += [self._timed(name, count, call, "frames") for name, call in calls.items()]
        starts = {count: p.encode(np.repeat(frame, count, axis=0)) for count in walkers}
        for count, slow in starts.items():
            call = partial(p.rollout, slow, lag, 1, rng)
            rows.append(self._timed("latent rollout, raw", count, call, "walkers", step=lag))
        save = max(1, round(100.0 / lag))

        def decoded(slow: Tensor) -> None:
            p.decode(p.rollout(slow, lag, save, rng, every=save)[-1], rng)

        for count, slow in starts.items():
            name = f"rollout, decoded every {save * lag:g} ps"
            rows.append(self._timed(name, count, partial(decoded, slow), "walkers", step=save * lag))
        return [*rows, self._alternation(lag)] if p.manifest.of_force_field else rows

    def _timed(self, name: str, count: int, call: Callable[[], object], noun: str, step: float = 0.0) -> Row:
        self.progress(f"{name}, {count} {noun}")
        device = self.propagator.device.type

        def whole() -> None:
            call()
            speed.synchronise(device)

        timed = speed.rate(whole, self.seconds)
        done = speed.operations(call)
        share = done * timed.per_second / self.peak if done > 0 and self.peak > 0 else None
        size = f"{count} {noun}" if count > 1 else f"1 {noun[:-1]}"
        unit = "steps/s" if name == "latent rollout, raw" else "frames/s"
        return Row.of(name, size, timed, count, unit, step=step, share=share, memory=speed.peak_memory(device))

    def _alternation(self, lag: float) -> Row:
        """Cycles of 500 MD steps and one latent step of the longest lag, in an OpenMM Simulation."""
        self.progress("alternate mode")
        molecule, p = self.molecule, self.propagator
        system: System = XmlSerializer.deserialize(XmlSerializer.serialize(molecule.system))
        latent = LatentIntegrator(p.temperature, p.bundle, lag, system=system, topology=molecule.topology)
        integrator, schedule = alternate(molecule.langevin(1), latent, (_CYCLE, 1))
        fastest = Platform.getPlatformByName(fastest_platform(molecule))
        simulation = app.Simulation(molecule.topology, system, integrator, fastest)
        simulation.reporters.append(schedule)
        simulation.context.setPositions(molecule.positions)
        simulation.minimizeEnergy(maxIterations=100)
        timed = speed.rate(lambda: simulation.step(_CYCLE + 1), self.seconds)
        per_cycle = _CYCLE * molecule.protocol.timestep + lag
        return Row.of(f"alternate, {_CYCLE} MD steps + 1 latent", "1 walker", timed, 1, "cycles/s", step=per_cycle)


def _size_rows(seconds: float, max_atoms: int, progress: Callable[[str], None]) -> list[Document]:
    """Cost against atoms: plain MD (OBC2) and one encoder pass on polyalanines of growing length."""
    results: list[Document] = []
    for residues in (size for size in SIZES if 10 * size + 12 <= max_atoms):
        progress(f"cost against atoms, {10 * residues + 12}")
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "polyalanine.pdb"
            path.write_text(pdb_block(backbone(["ACE", *["ALA"] * residues, "NME"])))
            molecule = build(path)
        atoms = molecule.topology.getNumAtoms()
        row: Document = {"atoms": atoms}
        for name in platforms(("Reference", "CPU", "CUDA") if atoms <= 2000 else ("CPU", "CUDA")):
            context = molecule.context(molecule.langevin(1), name)
            row[f"MD {name}, s/step"] = 1 / speed.rate(partial(run_steps, context, 1), seconds, 1).per_second
        if atoms <= _ENCODER_ATOMS:
            row["encoder, s/frame"] = 1 / _encoder_rate(molecule, seconds)
        results.append(row | {"peak memory, MiB": speed.peak_memory()})
    return results


def _encoder_rate(molecule: Molecule, seconds: float) -> float:
    """Frames per second of the default encoder of simulations; its cost does not depend on the weights."""
    graph = molecule_graph(molecule.topology)
    encoder = MoleculeEncoder(EGNNEncoder(FEATURE_SIZES), graph.features, graph.separation, graph.tokens).eval()
    positions = torch.as_tensor(np.asarray(molecule.positions._value)[None], dtype=torch.float32)
    with torch.no_grad():
        return speed.rate(lambda: encoder(positions), seconds, 1).per_second


def _machine(pdb: str | Path, model: str | Path | None) -> Document:
    """What was timed, where and with which versions."""
    document: Document = {
        "format": "latentmd-benchmark-1", "latentmd": version("latentmd"), "openmm": openmm.__version__,
        "created": datetime.now(UTC).isoformat(timespec="seconds"), "molecule": str(pdb),
        "model": None if model is None else str(model), "machine": platform.machine(), "cores": os.cpu_count(),
    }  # fmt: skip
    if model is not None:
        document |= {"torch": torch.__version__, "torch_threads": torch.get_num_threads()}
    return document
