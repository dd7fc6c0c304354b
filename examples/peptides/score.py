"""Peptides that a model was not trained on: the model beside the residue table, a short MD run, and two halves of MD.

    python examples/peptides/score.py REFERENCE --out scores.json
    python examples/peptides/score.py --torsions validation_0.npz --pack peptides.npz --out validation.json

REFERENCE is a folder with NAME.pdb and NAME.npz of each peptide: `xyz` float32 (runs, frames, atoms, 3) nm, optionally
`interval` (ps, 5 where absent), `temperature` (K, 350) and `energies` (runs, frames) kJ/mol. A file of torsions holds
`NAME:torsions` uint16 (runs, frames, torsions), angle = value.view(int16) · 2π/65536, and `NAME:names` such as phi1,
psi0, chi1_2, whose numbers count residues and caps from 0; `pack` has the topologies.
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

from latentmd.arrays import Bools, Floats
from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.evaluation.peptides import (
    Unseen,
    decorrelation_times,
    distribution_scores,
    run_columns,
    slowest_timescale,
    table_frames,
    unseen,
)  # fmt: skip
from latentmd.evaluation.residue_table import ResidueTable
from latentmd.evaluation.zero_shot import Rollouts
from latentmd.model.peptide_file import NAME, load_peptides
from latentmd.molecule.chain import SLOTS, Chain, chain
from latentmd.molecule.checks import check_frames, structure_template
from latentmd.training.peptides.data import packed_chemistry

SHORT = 12_000.0  # ps, of the short MD run that a model should beat
COLUMNS = ("torsions", "backbone", "side", "ramachandran", "neighbours", "tica0", "tica01", "states", "free energy")
ROWS = ("two halves of MD", "12 ns of MD", "residue table", "model, draws", "model, rollouts")


@dataclass(frozen=True)
class Peptide:
    """One peptide with its reference MD.

    Attributes:
        name: of the files.
        chain: what it is.
        lanes: torsions (runs, frames, tokens, slots) radians.
        known: (token, slot) that the reference holds.
        interval: ps between frames.
        temperature: kelvin.
        sound: structures that the soundness of others is measured by, nm, shape (frames, atoms, 3).
        pdb: its file; None where there is none, and energies are then not scored.
        energies: of the reference, kJ/mol; None where they are not stored.
    """

    name: str
    chain: Chain
    lanes: Floats
    known: set[tuple[int, int]]
    interval: float
    temperature: float
    sound: Floats
    pdb: Path | None = None
    energies: Floats | None = None

    @property
    def group(self) -> str:
        """Which figure it counts towards."""
        residues = len(self.chain.names) - sum(n in ("ACE", "NME", "NH2") for n in self.chain.names)
        if residues < len(self.chain.names):
            return "capped"
        return "tetrapeptides" if residues == 4 else f"{'longer' if residues > 4 else 'shorter'} than four"


def folder_peptides(folder: Path, only: list[str]) -> Iterator[Peptide]:
    """Peptides of a folder of NAME.pdb and NAME.npz."""
    from openmm.app import PDBFile

    for path in sorted(folder.glob("*.npz")):
        if only and path.stem not in only:
            continue
        data, pdb = np.load(path), folder / f"{path.stem}.pdb"
        xyz = data["xyz"]
        found = chain(PDBFile(str(pdb)).topology, xyz[0, 0])
        lanes = angles_of(found, xyz.reshape(-1, *xyz.shape[2:])).reshape(*xyz.shape[:2], *found.mask.shape)
        energies = data["energies"].ravel() if "energies" in data else None
        yield Peptide(
            path.stem, found, lanes, {(int(t), int(s)) for t, s in zip(*np.nonzero(found.mask), strict=True)},
            float(data["interval"]) if "interval" in data else 5.0,
            float(data["temperature"]) if "temperature" in data else 350.0,
            xyz[:, ::250].reshape(-1, *xyz.shape[2:]).astype(np.float64), pdb, energies,
        )  # fmt: skip


def packed_peptides(paths: list[str], pack_path: str, only: list[str]) -> Iterator[Peptide]:
    """Peptides of files of torsions, 10 ps apart at 350 K."""
    pack = dict(np.load(pack_path))
    rows = {k[:-6]: np.concatenate([[0], np.cumsum(pack[k])]) for k in pack if k.endswith("_count")}
    place = {str(name): k for k, name in enumerate(pack["name"])}
    for path in paths:
        data = np.load(path)
        for name in [key.split(":")[0] for key in data.files if key.endswith(":torsions")]:
            if only and name not in only:
                continue
            k = place[name]
            start = pack["start"][rows["start"][k] : rows["start"][k + 1]].astype(np.float64)
            found = chain(packed_chemistry(pack, k, rows), start)
            raw = data[f"{name}:torsions"].view(np.int16).astype(np.float32) * (2 * np.pi / 65536)
            lanes, known = np.zeros((*raw.shape[:2], *found.mask.shape), dtype=np.float32), set()
            for column, label in enumerate(str(x) for x in data[f"{name}:names"]):
                head, _, tail = label.partition("_")
                slot = head if tail else head.rstrip("0123456789")
                if slot in SLOTS and slot != "omega":
                    token = int(tail or head[len(slot) :])
                    lanes[:, :, token, SLOTS.index(slot)] = raw[:, :, column]
                    known.add((token, SLOTS.index(slot)))
            yield Peptide(name, found, lanes, known, 10.0, 350.0, start[None])


def angles_of(found: Chain, frames: Floats) -> Floats:
    """Torsions (frames, tokens, slots) of positions (frames, atoms, 3) nm."""
    coordinates = InternalCoordinates(list(found.record.labels), found.layout)
    slots = torch.from_numpy(found.slots)
    parts = []
    for part in torch.from_numpy(np.asarray(frames, dtype=np.float32)).split(8192):
        torsions = coordinates.to_internal(part)[2]
        parts.append(torsions[:, slots.clamp_min(0).flatten()].reshape(-1, *slots.shape) * (slots >= 0))
    return np.asarray(torch.cat(parts).numpy())


def scores(p: Peptide, reference: Unseen, table: ResidueTable, rollouts: Rollouts, frames: int) -> dict[str, Any]:
    """Distances of every row to the reference, and what rollouts say of structures and of kinetics."""
    runs, whole = reference.runs, reference.frames
    short = round(SHORT / p.interval)
    begin = time.perf_counter()
    walkers = max(1, frames // 200)
    angles, positions = rollouts.decoded(walkers, 200, 100.0)
    spent = time.perf_counter() - begin
    long = run_columns(reference, angles)
    quick = run_columns(reference, rollouts.torsions(40, 600, 10.0))
    draws = run_columns(reference, rollouts.equilibrium(frames)[:, None])
    out: dict[str, Any] = {
        "two halves of MD": distribution_scores(reference, runs[::2], np.concatenate(runs[1::2])),
        "12 ns of MD": distribution_scores(reference, [whole[:short]], whole[short:]),
        "residue table": distribution_scores(reference, [table_frames(table, reference, frames, 0)]),
        "model, draws": distribution_scores(reference, draws),
        "model, rollouts": distribution_scores(reference, long),
    }
    md, mine = decorrelation_times(thinned(reference, 10.0), 10.0, 3000.0), decorrelation_times(quick, 10.0, 3000.0)
    both = np.isfinite(md) & np.isfinite(mine) & (md > 10.0)
    slow = slowest_timescale(reference, runs, p.interval), slowest_timescale(reference, long, 100.0)
    sound = soundness(p, positions)
    out["structure"] = {"sound": float(sound.mean()), "ms per frame": 1e3 * spent / (200 * walkers)}
    out["kinetics"] = {
        "decorrelation ratio": float(np.median(mine[both] / md[both])) if both.any() else float("nan"),
        "slowest ratio": slow[1] / slow[0], "slowest of MD, ps": slow[0], "slowest of the model, ps": slow[1],
    }  # fmt: skip
    if p.pdb is not None and p.energies is not None:
        out["structure"]["energies inside"] = relaxed_inside(p, positions[sound])
    return out


def thinned(reference: Unseen, interval: float) -> list[Floats]:
    """Runs of the reference at a coarser interval."""
    stride = max(1, round(interval / reference.interval))
    return [run[::stride] for run in reference.runs]


def soundness(p: Peptide, positions: Floats) -> Bools:
    """Whether decoded frames have right bonds, angles, handedness and no clash, before any relaxation."""
    passed = check_frames(positions.astype(np.float64), structure_template(p.chain.record, p.sound))
    return np.asarray(np.all(list(passed.values()), axis=0))


def relaxed_inside(p: Peptide, positions: Floats, count: int = 200) -> float:
    """Share of relaxed frames whose energy is between the 0.1 and 99.9 % quantiles of MD.

    Frames are minimised (100 iterations), then moved by 4 ps of Langevin MD of friction 10/ps.
    """
    from latentmd import build
    from latentmd.replicas.engine import ReplicaEngine
    from latentmd.systems.builder import Protocol

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
    """One table: means over the peptides of each group."""
    lines = []
    for group in sorted(set(groups.values())):
        names = [name for name in found if groups[name] == group]
        lines += [f"\n{group} ({len(names)}): JS distances; free energy in kcal/mol",
                  f"{'':18}" + "".join(f"{c:>13}" for c in COLUMNS)]  # fmt: skip
        for row in ROWS:
            values = [[found[n][row][c] for n in names if c in found[n][row]] for c in COLUMNS]
            lines.append(f"{row:18}" + "".join(f"{np.mean(v):13.3f}" if v else f"{'–':>13}" for v in values))
        for part in ("structure", "kinetics"):
            for key in found[names[0]][part]:
                values = np.array([found[n][part].get(key, np.nan) for n in names])
                known = values[np.isfinite(values)]
                spread = (
                    f"median {np.median(known):.3f}, mean {known.mean():.3f}, {known.min():.3f} to {known.max():.3f}"
                )
                lines.append(f"{key}: {spread if len(known) else 'not known'}")
    return "\n".join(lines)


def main() -> None:
    """Read the command line, score every peptide and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("reference", nargs="?", help="folder of NAME.pdb and NAME.npz")
    add("--torsions", nargs="+", default=[])
    add("--pack", default="")
    add("--model", default=NAME, help="name or path of a model of peptides")
    add("--out", required=True, help="JSON, written after every peptide; peptides in it are not scored again")
    add("--frames", type=int, default=20000)
    add("--only", nargs="+", default=[])
    options = parser.parse_args()
    torch.set_num_threads(1)
    file = load_peptides(options.model)
    model, table = file.model, ResidueTable.of(file.statistics)
    out = Path(options.out)
    stored = json.loads(out.read_text()) if out.exists() else {"scores": {}, "groups": {}}
    found, groups = stored["scores"], stored["groups"]
    peptides = (
        folder_peptides(Path(options.reference), options.only)
        if options.reference
        else packed_peptides(options.torsions, options.pack, options.only)
    )
    for p in peptides:
        if p.name in found:
            continue
        reference = unseen(p.chain, p.lanes, p.interval, p.temperature, p.known)
        found[p.name] = scores(p, reference, table, Rollouts(model, p.chain, 0), options.frames)
        groups[p.name] = p.group
        out.write_text(json.dumps({"scores": found, "groups": groups}, indent=1, default=float))
        print(p.name, flush=True)
    print(summary(found, groups))


if __name__ == "__main__":
    main()
