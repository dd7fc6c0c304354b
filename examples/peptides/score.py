"""Peptides that a model was not trained on: the model beside the residue table, a short MD run, and two halves of MD.

    python examples/peptides/score.py REFERENCE --out scores

REFERENCE is a folder with NAME.pdb and NAME.npz of each peptide: `xyz` float32 (runs, frames, atoms, 3) nm, optionally
`interval` (ps, 5 where absent), `temperature` (K, 350) and `energies` (runs, frames) kJ/mol; or one with a folder NAME
for each, as `latentmd md NAME.pdb --out REFERENCE/NAME` writes it. Writes scores.json, table.txt and NAME.png with the
Ramachandran planes into the folder --out, after every peptide; peptides that are in it are not scored again.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from measures import (
    Unseen,
    decorrelation_times,
    distribution_scores,
    run_columns,
    slowest_timescale,
    table_frames,
    unseen,
)
from peptide_rollouts import Rollouts

from latentmd.arrays import Bools, Floats
from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.evaluation.residue_table import ResidueTable, plane, scored_planes
from latentmd.evaluation.speed import rate
from latentmd.model.peptide_file import NAME, load_peptides
from latentmd.molecule.chain import Chain, chain
from latentmd.molecule.checks import check_frames, structure_template
from latentmd.report import figures
from latentmd.training.peptides.dataset import find_molecules, read_molecule
from latentmd.training.peptides.tilt import fit_tilt

SHORT = 12_000.0  # ps, of the short MD run that a model should beat
STEP = 100.0  # ps, of a latent step, each decoded
STEPS = 200  # of a rollout
COLUMNS = ("torsions", "backbone", "side", "ramachandran", "neighbours", "tica0", "tica01", "states", "free energy")
ROWS = ("two halves of MD", "12 ns of MD", "residue table", "model, draws", "model, rollouts")
MEANING = """JS distances in √nats (0: the same, 0.83: nothing in common), mean over torsions (100 bins) or planes
(50 × 50 bins): ramachandran (φ, ψ), neighbours (ψ, next φ); tica0 and tica01 on the slowest axes of the reference,
states on its k-means states; free energy: mean absolute error over its macrostates, kcal/mol. 'two halves of MD' is
the floor; the distances depend on the number of frames too."""


@dataclass(frozen=True)
class Peptide:
    """One peptide with its reference MD.

    Attributes:
        name: of the files.
        chain: what it is.
        lanes: torsions (runs, frames, tokens, slots) radians.
        interval: ps between frames.
        temperature: kelvin.
        sound: structures that the soundness of others is measured by, nm, shape (frames, atoms, 3).
        pdb: its file.
        energies: of the reference, kJ/mol; None where they are not stored.
    """

    name: str
    chain: Chain
    lanes: Floats
    interval: float
    temperature: float
    sound: Floats
    pdb: Path
    energies: Floats | None = None

    @property
    def group(self) -> str:
        """Which figure it counts towards."""
        residues = len(self.chain.names) - sum(n in ("ACE", "NME", "NH2") for n in self.chain.names)
        if residues < len(self.chain.names):
            return "capped"
        return "tetrapeptides" if residues == 4 else f"{'longer' if residues > 4 else 'shorter'} than four"


def peptides(folder: Path, only: list[str], temperature: float) -> Iterator[Peptide]:
    """Peptides of a folder; see the top of this file."""
    from openmm.app import PDBFile

    archives = sorted(folder.glob("*.npz"))
    for path in archives:
        if only and path.stem not in only:
            continue
        data, pdb = np.load(path), folder / f"{path.stem}.pdb"
        xyz = data["xyz"]
        found = chain(PDBFile(str(pdb)).topology, xyz[0, 0])
        yield Peptide(
            path.stem,
            found,
            lanes=angles_of(found, xyz),
            interval=float(data["interval"]) if "interval" in data else 5.0,
            temperature=float(data["temperature"]) if "temperature" in data else temperature,
            sound=xyz[:, ::250].reshape(-1, *xyz.shape[2:]).astype(np.float64),
            pdb=pdb,
            energies=data["energies"].ravel() if "energies" in data else None,
        )
    for item in [] if archives else find_molecules(folder):
        if only and item.name not in only:
            continue
        md = read_molecule(item)
        xyz = md.frames * np.float32(1e-3)
        sound = xyz[:, ::125].reshape(-1, *xyz.shape[2:]).astype(np.float64)
        yield Peptide(
            item.name, md.chain, angles_of(md.chain, xyz), interval=md.interval, temperature=temperature,
            sound=sound, pdb=item.topology, energies=energies_of(item.topology, xyz[:, ::4]),
        )  # fmt: skip


def energies_of(pdb: Path, xyz: Floats) -> Floats:
    """Potential energies, kJ/mol, shape (runs · frames,), of positions (runs, frames, atoms, 3) nm."""
    from latentmd import build
    from latentmd.replicas.engine import ReplicaEngine

    flat = xyz.reshape(-1, *xyz.shape[2:]).astype(np.float64)
    return np.asarray(ReplicaEngine(build(pdb).system, flat, temperature=350.0, threads=1).energies())


def angles_of(found: Chain, xyz: Floats) -> Floats:
    """Torsions (runs, frames, tokens, slots) of positions (runs, frames, atoms, 3) nm."""
    coordinates = InternalCoordinates(list(found.record.labels), found.layout)
    slots = torch.from_numpy(found.slots)
    parts = []
    for part in torch.from_numpy(xyz.reshape(-1, *xyz.shape[2:])).float().split(8192):
        torsions = coordinates.to_internal(part)[2]
        parts.append(torsions[:, slots.clamp_min(0).flatten()].reshape(-1, *slots.shape) * (slots >= 0))
    return np.asarray(torch.cat(parts).numpy()).reshape(*xyz.shape[:2], *slots.shape)


def distributions(p: Peptide, reference: Unseen, table: Floats, draws: list[Floats], long: list[Floats]) -> dict:
    """Distances of every row to the reference.

    Args:
        p: the peptide.
        reference: its MD.
        table: frames drawn from the residue table.
        draws, long: independent draws and rollouts of the model.
    """
    runs, whole = reference.runs, reference.frames
    half = len(whole) // 2
    short = round(SHORT / p.interval)
    two = (runs[::2], np.concatenate(runs[1::2])) if len(runs) > 1 else ([whole[:half]], whole[half:])
    out = {
        "two halves of MD": distribution_scores(reference, *two),
        "residue table": distribution_scores(reference, [table]),
        "model, draws": distribution_scores(reference, draws),
        "model, rollouts": distribution_scores(reference, long),
    }
    if len(whole) >= 2 * short:
        out["12 ns of MD"] = distribution_scores(reference, [whole[:short]], whole[short:])
    return out


def scores(p: Peptide, table: ResidueTable, rollouts: Rollouts, frames: int) -> tuple[dict[str, Any], bytes]:
    """Distances of every row to the reference, what rollouts say of structures and of kinetics, and the picture.

    Args:
        p: the peptide.
        table: the baseline.
        rollouts: of the model.
        frames: of the model and of the table.
    """
    every = {(int(t), int(s)) for t, s in zip(*np.nonzero(p.chain.mask), strict=True)}
    reference = unseen(p.chain, p.lanes, interval=p.interval, temperature=p.temperature, known=every)
    begin = time.perf_counter()
    walkers = max(1, frames // STEPS)
    angles, positions = rollouts.decoded(walkers, STEPS, STEP)
    spent = time.perf_counter() - begin
    long = run_columns(reference, angles)
    quick = run_columns(reference, rollouts.torsions(40, 600, 10.0))
    draws = run_columns(reference, rollouts.equilibrium(frames)[:, None])
    drawn = table_frames(table, reference, frames, seed=0)
    out: dict[str, Any] = distributions(p, reference, table=drawn, draws=draws, long=long)
    md, mine = decorrelation_times(thinned(reference, 10.0), 10.0, 3000.0), decorrelation_times(quick, 10.0, 3000.0)
    both = np.isfinite(md) & np.isfinite(mine) & (md > 10.0)
    slow = slowest_timescale(reference, reference.runs, p.interval), slowest_timescale(reference, long, STEP)
    sound = soundness(p, positions)
    out["structure"] = {"share of sound structures": float(sound.mean())}
    out["kinetics"] = {
        "decorrelation, ratio to MD": float(np.median(mine[both] / md[both])) if both.any() else float("nan"),
        "slowest timescale, ratio to MD": slow[1] / slow[0], "slowest timescale of MD, ps": slow[0],
        "slowest timescale of the model, ps": slow[1],
    }  # fmt: skip
    out["speed"] = speed(p, 1e-3 * STEP * len(positions) / spent)
    if p.energies is not None:
        out["structure"]["share of energies inside MD's"] = relaxed_inside(p, positions[sound])
    return out, picture(p.chain, reference, {"MD": reference.frames, "residue table": drawn,
                                            "model, zero-shot": np.concatenate(long)})  # fmt: skip


def picture(found: Chain, reference: Unseen, rows: dict[str, Floats]) -> bytes:
    """PNG of the (φ, ψ) density of each residue (columns) in each set of frames (rows).

    Args:
        found: the peptide.
        reference: whose columns the frames have.
        rows: frames (frames, scored torsions) by name.
    """
    place = {c: k for k, c in enumerate(reference.columns)}
    pairs = [(a, b) for a, b in scored_planes(found)["ramachandran"] if a in place and b in place]
    made, axes = figures.figure(len(rows), max(1, len(pairs)), width=2.6, height=2.4)
    panels = iter(axes)
    for k, (name, frames) in enumerate(rows.items()):
        for a, b in pairs:
            axis, size = next(panels), 50
            counts = plane(frames[:, place[a]], frames[:, place[b]]).reshape(size, size)
            with np.errstate(divide="ignore"):
                level = np.log10(counts / counts.sum())
            axis.imshow(level.T, origin="lower", extent=figures.ramachandran_bounds(), cmap="viridis", vmin=-5, vmax=-2)
            axis.set(
                xticks=[-180, 0, 180], yticks=[-180, 0, 180], title=f"{found.names[a[0]]}{a[0] + 1}" if k == 0 else ""
            )
            if (a, b) == pairs[0]:
                axis.set_ylabel(f"{name}\nψ (degrees)")
            if k == len(rows) - 1:
                axis.set_xlabel("φ (degrees)")
    return figures.png(made)


def thinned(reference: Unseen, interval: float) -> list[Floats]:
    """Runs of the reference at a coarser interval."""
    stride = max(1, round(interval / reference.interval))
    return [run[::stride] for run in reference.runs]


def soundness(p: Peptide, positions: Floats) -> Bools:
    """Whether decoded frames have right bonds, angles, handedness and no clash, before any relaxation."""
    passed = check_frames(positions.astype(np.float64), structure_template(p.chain.record, p.sound))
    return np.asarray(np.all(list(passed.values()), axis=0))


def speed(p: Peptide, model: float, copies: int = 16) -> dict[str, float]:
    """Simulated ns per second of one thread, all copies together: the model, the replica engine, one OpenMM run.

    Args:
        p: the peptide.
        model: ns per second of the model's decoded rollouts.
        copies: in the replica engine.
    """
    import openmm

    from latentmd import build
    from latentmd.replicas.engine import ReplicaEngine
    from latentmd.systems.builder import Protocol

    molecule = build(p.pdb, replace(Protocol(), temperature=p.temperature))
    engine = ReplicaEngine(
        molecule.system, np.repeat(p.sound[:1], copies, axis=0), temperature=p.temperature, threads=1
    )
    engine.minimize(100)
    engine.draw_velocities()
    replicas = rate(lambda: engine.langevin(50, timestep=0.004, friction=1.0), 1.5).per_second
    integrator = openmm.LangevinMiddleIntegrator(p.temperature, 1.0, 0.004)
    platform = openmm.Platform.getPlatformByName("CPU")
    context = openmm.Context(molecule.system, integrator, platform, {"Threads": "1"})
    context.setPositions(np.asarray(engine.positions[0], dtype=np.float64))
    one = rate(lambda: integrator.step(50), 1.5).per_second
    found = {"replica engine, ns/s": 50 * 4e-6 * copies * replicas, "OpenMM CPU, ns/s": 50 * 4e-6 * one}
    ratios = {f"model over {name.split(',')[0]}": model / value for name, value in found.items()}
    return {"model, ns/s": model, **found, **ratios}


def relaxed_inside(p: Peptide, positions: Floats, count: int = 200) -> float:
    """Share of relaxed frames whose energy is between the 0.1 and 99.9 % quantiles of MD.

    Frames are minimised (100 iterations), then moved by 4 ps of Langevin MD of friction 10/ps.
    """
    from latentmd import build
    from latentmd.replicas.engine import ReplicaEngine
    from latentmd.systems.builder import Protocol

    assert p.energies is not None
    molecule = build(p.pdb, replace(Protocol(), temperature=p.temperature))
    chosen = positions[:: max(1, len(positions) // count)][:count].astype(np.float64)
    engine = ReplicaEngine(molecule.system, chosen, temperature=p.temperature, threads=1)
    engine.minimize(100)
    engine.draw_velocities()
    engine.langevin(1000, timestep=0.004, friction=10.0)
    low, high = np.quantile(p.energies, [0.001, 0.999])
    energies = engine.energies()
    return float(np.mean((energies >= low) & (energies <= high)))


def summary(found: dict[str, Any], groups: dict[str, str]) -> str:
    """Tables: means over the peptides of each group, then each peptide."""
    lines = [MEANING]
    for group in sorted(set(groups.values())):
        lines += block(f"{group}, mean of {sum(g == group for g in groups.values())}",
                       [found[name] for name in found if groups[name] == group])  # fmt: skip
    for name in found:
        lines += block(name, [found[name]])
    return "\n".join(lines)


def block(title: str, members: list[dict[str, Any]]) -> list[str]:
    """Lines of one table: the mean of some peptides."""
    lines = ["", f"{title:18}" + "".join(f"{c:>13}" for c in COLUMNS)]
    for row in ROWS:
        values = [[m[row][c] for m in members if c in m.get(row, {})] for c in COLUMNS]
        lines.append(f"{row:18}" + "".join(f"{np.mean(v):13.3f}" if v else f"{'–':>13}" for v in values))
    for part in ("structure", "kinetics", "speed"):
        for key in members[0][part]:
            values = np.array([m[part].get(key, np.nan) for m in members])
            known = values[np.isfinite(values)]
            if not len(known):
                lines.append(f"  {key}: not known")
            elif len(members) == 1:
                lines.append(f"  {key}: {known[0]:.4g}")
            else:
                lines.append(f"  {key}: median {np.median(known):.4g}, mean {known.mean():.4g}, "
                             f"{known.min():.4g} to {known.max():.4g}")  # fmt: skip
    return lines


def main() -> None:
    """Read the command line, score every peptide and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("reference", type=Path, help="folder of the references")
    add("--model", default=NAME, help="name or path of a model of peptides")
    add("--out", type=Path, required=True, help="folder")
    add("--frames", type=int, default=20000, help="of the model, per peptide")
    add("--tilt", action="store_true", help="fit weights against drift to each peptide, as `latentmd bind --tilt` does")
    add("--only", nargs="+", default=[], help="names of peptides; all where absent")
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = load_peptides(options.model)
    table = ResidueTable.of(file.statistics)
    options.out.mkdir(parents=True, exist_ok=True)
    out = options.out / "scores.json"
    stored = json.loads(out.read_text()) if out.exists() else {"scores": {}, "groups": {}}
    found, groups = stored["scores"], stored["groups"]
    for p in peptides(options.reference, options.only, file.manifest.temperature):
        answer = file.manifest.coverage.covers(p.chain.record, p.temperature)
        if p.name in found or not answer:
            print(p.name, "is scored already" if answer else f"is not covered: {answer.reason}", flush=True)
            continue
        begin = time.perf_counter()
        rollouts = Rollouts(file.model, p.chain, 0)
        if options.tilt:
            fit_tilt(rollouts.bound)
        found[p.name], image = scores(p, table, rollouts, options.frames)
        groups[p.name] = p.group
        out.write_text(json.dumps({"scores": found, "groups": groups}, indent=1, default=float))
        (options.out / f"{p.name}.png").write_bytes(image)
        print(f"{p.name}: {p.lanes.shape[0]} runs of {1e-3 * p.lanes.shape[1] * p.interval:.1f} ns, "
              f"scored in {time.perf_counter() - begin:.0f} s", flush=True)  # fmt: skip
    text = summary(found, groups)
    (options.out / "table.txt").write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
