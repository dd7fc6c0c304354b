"""Figures of paths of peptides that the bundled model of many peptides was not trained on, against held-out MD.

    python examples/paths/score_peptides.py paths    REFERENCE --work scores
    python examples/paths/score_peptides.py inpaint  REFERENCE --work scores
    python examples/paths/score_peptides.py design   REFERENCE --work scores
    python examples/paths/score_peptides.py forward  REFERENCE --work scores
    python examples/paths/score_peptides.py upsample FINE      --work scores

REFERENCE is the folder that examples/peptides/score.py takes, with a frame every 5 ps; FINE is made from it by fine.py.
Half of the runs of each peptide is the reference, the other half the MD beside it. Nothing is chosen on
these trajectories. Results are printed and kept in <work>/<name>.json; a peptide that is in it is not scored again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import torch
from numpy.typing import NDArray
from openmm.app import PDBFile
from runs import peptides, runs
from score import PATHS, Reference, replicates
from score_filling import upsampled

from latentmd import inpaint, paths, upsample
from latentmd.analysis.features import feature_spec
from latentmd.analysis.kinetics import torsion_autocorrelation
from latentmd.analysis.statistics import js_distance
from latentmd.evaluation.residue_table import ResidueTable, scored_torsions
from latentmd.model.binding import bind
from latentmd.model.peptide_file import load_peptides
from latentmd.model.propagator import Propagator
from latentmd.molecule.chain import SLOTS, chain, known_torsions
from latentmd.sampling.paths.design import design

INTERVAL = 5.0  # ps, of the reference
LAG = 20  # frames: 100 ps
PAIRS = 4  # pairs of ends that the scored paths are shared by
PIECES = 3  # of 2 ns that are inpainted
SEEDS = 4  # of draws of each piece: 400 frames of what the model says of it
PHI, PSI = SLOTS.index("phi"), SLOTS.index("psi")
STANDARD = {"HID": "HIS", "HIE": "HIS", "HIP": "HIS"}
EVERY = 10  # frames of 1 ps between those that are given to `upsample`
UPSAMPLED = 4  # runs that are filled in
SHORT = 2  # runs in the shorter replicate MD: 25 ns of the test set


class Peptide:
    """One peptide: its MD, its torsions and the bundled model bound to it."""

    def __init__(self, name: str, pdb: Path, work: Path) -> None:
        self.name, self.pdb = name, pdb
        self.xyz = runs(pdb)
        self.topology = mdtraj.load_topology(str(pdb))
        spec = feature_spec(self.topology)
        self.kept = [i for i, name in enumerate(spec.names) if not name.startswith("omega")]
        self.spec = spec
        structure = PDBFile(str(pdb))
        self.chain = chain(structure.topology, np.asarray(structure.getPositions(asNumpy=True)._value))
        self.model = work / f"{self.name}.pt"
        if not self.model.exists():
            bind(structure.topology, np.asarray(structure.getPositions(asNumpy=True)._value), self.model)

    def torsions(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """φ, ψ and χ in radians, shape (..., torsions)."""
        flat = np.asarray(xyz).reshape(-1, *xyz.shape[-2:])
        found = [self.spec.values(flat[i : i + 20_000])[:, self.kept] for i in range(0, len(flat), 20_000)]
        return np.concatenate(found).reshape(*xyz.shape[:-2], -1)

    def every_torsion(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """ω, φ, ψ and χ in radians, those of hydroxyls included, shape (frames, torsions)."""
        atoms = np.arange(xyz.shape[-2])
        return known_torsions(self.chain, atoms).measure(np.asarray(xyz))[:, self.chain.mask]

    def trajectory(self, positions: NDArray[Any], path: Path, interval: float) -> Path:
        """Write frames as an XTC file."""
        times = interval * np.arange(len(positions))
        mdtraj.Trajectory(np.asarray(positions), self.topology, time=times).save_xtc(str(path))
        return path

    def save(self, positions: NDArray[Any], path: Path) -> Path:
        """Write one frame as a PDB file."""
        mdtraj.Trajectory(positions[None], self.topology).save_pdb(str(path))
        return path


def score_paths(peptide: Peptide, work: Path) -> dict[str, Any]:
    """Paths between the two states of least flux beside bridges of other MD and of the reference itself."""
    torsions = peptide.torsions(peptide.xyz)
    reference = Reference(torsions[::2], LAG, 5)
    states = reference.states(torsions[::2])
    rng = np.random.default_rng(0)
    drawn, shares, refused = [], [], 0
    for pair in range(PAIRS):
        files = []
        for name, end in zip("AB", reference.ends, strict=True):
            run, frame = rng.permutation(np.argwhere(states == end))[0]
            files.append(peptide.save(peptide.xyz[2 * run, frame], work / f"{peptide.name}-{name}{pair}.pdb"))
        try:
            made = paths(*files, model=peptide.model, time="1ns", every="100ps", count=PATHS // PAIRS, seed=pair,
                         out=work / f"{peptide.name}-{pair}", resume=True)  # fmt: skip
        except ValueError as error:
            print(peptide.name, pair, error, flush=True)
            refused += 1
            continue
        frames = np.stack([mdtraj.load(str(p), top=str(made.topology)).xyz for p in made.trajectories])
        drawn.append(reference.states(peptide.torsions(frames)))
        shares.append(float(made.summary["least_effective_share"]))
    found = reference.score(np.concatenate(drawn) if drawn else None)
    made_share = len(drawn) / PAIRS
    other = reference.states(torsions[1::2])
    short, scores = replicates(reference, other, SHORT, LAG)
    return {
        "states": reference.sets, "refused": refused, "least effective share": shares,
        "latentmd": {
            "valid": found["valid"] * made_share, "probability": found["probability"] * made_share,
            "distance": found["distance"] if drawn else 1.0,
        },
        "reference itself": reference.score(reference.bridges(reference.matrix, reference.active, PATHS, 2)),
        f"MD, {SHORT} runs, mean of {short}": scores,
        "MD, other half": replicates(reference, other, len(other), LAG)[1],
    }  # fmt: skip


def score_upsample(peptide: Peptide, work: Path) -> dict[str, Any]:
    """Frames filled in between every tenth of some runs, a frame every ps, beside the given frame held and other MD."""
    filled_in, other = peptide.xyz[:UPSAMPLED], peptide.xyz[UPSAMPLED : 2 * UPSAMPLED]
    length = (filled_in.shape[1] - 1) // EVERY * EVERY + 1
    truth = [peptide.every_torsion(run[:length]) for run in filled_in]
    filled = []
    for number, run in enumerate(filled_in):
        coarse = peptide.trajectory(run[:length:EVERY], work / f"{peptide.name}-coarse.xtc", float(EVERY))
        made = upsample(coarse, peptide.pdb, model=peptide.model, every="1ps", seed=number,
                        out=work / f"{peptide.name}-upsample-{number}", resume=True)  # fmt: skip
        filled.append(peptide.every_torsion(mdtraj.load(str(made.trajectory), top=str(made.topology)).xyz))
    new = np.arange(length) % EVERY > 0
    sets = {
        "latentmd": filled, "given frame held": [np.repeat(run[::EVERY], EVERY, axis=0)[:length] for run in truth],
        "other MD": [peptide.every_torsion(run[:length]) for run in other],
    }  # fmt: skip
    omega = np.argwhere(peptide.chain.mask)[:, 1] == SLOTS.index("omega")
    result: dict[str, Any] = {}
    for name, made in sets.items():
        rows = [upsampled(truth, made, new, column) for column in range(len(omega))]
        for kind, kept in (("φ, ψ, χ", ~omega), ("ω", omega)):
            result[f"{name}, {kind}"] = {
                key: float(np.mean([row[key] for row, keep in zip(rows, kept, strict=True) if keep]))
                for key in ("distance", "autocorrelation rms")
            }
    return result


def distance(a: NDArray[Any], b: NDArray[Any]) -> float:
    """JS distance of one torsion in bins of 10 degrees."""
    edges = np.linspace(-np.pi, np.pi, 37)
    return js_distance(np.histogram(a, edges)[0], np.histogram(b, edges)[0])


def tabled(peptide: Peptide, count: int, rng: np.random.Generator) -> NDArray[Any]:
    """Draws of every torsion from the residue table, shape (count, torsions)."""
    table = ResidueTable.of(load_peptides().statistics).torsions
    columns = []
    for token, slot in np.argwhere(peptide.chain.mask):
        share = table[peptide.chain.types[token, 0], peptide.chain.types[token, 1], slot]
        columns.append((rng.choice(len(share), count, p=share / share.sum()) + rng.random(count)) / len(share))
    return (2 * np.stack(columns, axis=1) - 1) * np.pi


def score_inpaint(peptide: Peptide, work: Path) -> dict[str, Any]:
    """Both inner residues drawn given the outer ones, in pieces of 2 ns: mean distance of their torsions."""
    rng, stride = np.random.default_rng(0), round(20 / INTERVAL)
    chosen = rng.choice(len(peptide.xyz), PIECES, replace=False)
    given = np.concatenate([peptide.xyz[run, : 100 * stride : stride] for run in chosen])
    hidden = [residue.resSeq for residue in peptide.topology.residues][1:3]
    file = peptide.trajectory(given, work / f"{peptide.name}-pieces.xtc", 20.0)
    made = [
        inpaint(file, peptide.pdb, hidden, model=peptide.model, seed=seed, out=work / f"{peptide.name}-inpaint-{seed}",
                resume=True)
        for seed in range(SEEDS)
    ]  # fmt: skip
    drawn = [peptide.every_torsion(mdtraj.load(str(m.trajectory), top=str(m.topology)).xyz) for m in made]
    model = Propagator(peptide.model, "cpu", threads=1)
    walkers = peptide.xyz[:, :: len(peptide.xyz[0]) // 4].reshape(-1, *given.shape[1:])
    free = model.rollout(model.encode(walkers), 20.0, 150, rng)[50:].transpose(0, 1)
    free = peptide.every_torsion(model.decode(free.flatten(0, 1), rng))
    other = peptide.xyz[(chosen + 1) % len(peptide.xyz), -100 * stride :: stride].reshape(-1, *given.shape[1:])
    table = tabled(peptide, 20_000, rng)
    parts = [slice(100 * piece, 100 * piece + 100) for piece in range(PIECES)]
    samples = {
        "latentmd": [np.concatenate([x[part] for x in drawn]) for part in parts],
        "latentmd, one seed": [drawn[0][part] for part in parts],
        "residue table": [table] * PIECES,
        "residue table, 100 draws": [table[part] for part in parts],
        "unconditional model": [free] * PIECES,
        "unconditional model, 2 ns": [free[part] for part in parts],
        "MD, another 2 ns": [peptide.every_torsion(other)[part] for part in parts],
    }
    truth = peptide.every_torsion(given)
    token, slot = np.argwhere(peptide.chain.mask).T
    touched = {
        "φ, ψ": (np.isin(slot, (PHI, PSI)) & np.isin(token, (1, 2)))
        | ((token == 0) & (slot == PSI))
        | ((token == 3) & (slot == PHI)),
        "χ": (slot > PSI) & np.isin(token, (1, 2)),
    }
    result: dict[str, Any] = {name: {} for name in samples}
    for kind, kept in touched.items():
        for name, sample in samples.items():
            values = [
                distance(truth[part, c], beside[:, c])
                for part, beside in zip(parts, sample, strict=True)
                for c in np.flatnonzero(kept)
            ]
            result[name][kind] = float(np.mean(values)) if values else float("nan")
    turn = np.abs(np.remainder(np.stack(drawn) - truth + np.pi, 2 * np.pi) - np.pi)[..., touched["φ, ψ"]]
    summary = made[0].summary
    result["frames"] = {
        "φ, ψ within 30 degrees": float((turn < np.pi / 6).mean()), "sound": summary["frames_sound_before_relaxation"],
        "failing": summary["frames_failing_checks"] / summary["frames"],
    }  # fmt: skip
    return result


def score_design(peptide: Peptide, work: Path) -> dict[str, Any]:
    """Rank and probability of both inner residues: by the dynamics of the outer ones, and by one structure of them."""
    outer = np.flatnonzero(np.isin(peptide.chain.record.residue_index, (0, 3)))
    which, every = known_torsions(peptide.chain, outer), peptide.xyz[:, :: round(200 / INTERVAL)]
    frames, result = np.array(every).reshape(-1, *every.shape[2:]), {}
    for name, x in (("latentmd", frames), ("structure only", frames[:1])):
        found = design(load_peptides(), peptide.chain, [1, 2], which, x, seed=0)
        for place, share in enumerate(found.probability):
            true = share[
                found.types.index(STANDARD.get(peptide.chain.names[place + 1], peptide.chain.names[place + 1]))
            ]
            result[f"{name}, residue {place + 2}"] = {
                "rank": int((share > true).sum()) + 1, "probability": float(true), "right": float(true == share.max()),
            }  # fmt: skip
    return result


def score_forward(peptide: Peptide, work: Path) -> dict[str, Any]:
    """The masked model as a forward simulator beside the one-step model: 100 walkers of 6 ns, a frame every 10 ps."""
    model, rng = Propagator(peptide.model, "cpu", threads=1), np.random.default_rng(0)
    generator, frames, lag = torch.Generator().manual_seed(0), 31, 10.0
    starts = model.encode(peptide.xyz[::2, :: len(peptide.xyz[0]) // 12].reshape(-1, *peptide.xyz.shape[2:])[:100])
    times, runs, last = (lag * torch.arange(frames)).expand(len(starts), -1), [], starts
    for _ in range(20):
        known = torch.zeros(len(starts), frames, *starts.shape[1:])
        known[:, 0] = last
        mask = torch.zeros(known.shape[:3], dtype=torch.bool)
        mask[:, 0] = True
        drawn = model.trajectories.sample(known, mask, times, torch.randn(known.shape, generator=generator))
        runs.append(drawn[:, 1:])
        last = drawn[:, -1]
    one_step = model.rollout(starts, lag, 600, rng).transpose(0, 1)
    kept = slice(200, None)
    sets = {
        "masked model": _angles(peptide, model, torch.cat(runs, dim=1)[:, kept]),
        "one-step model": _angles(peptide, model, one_step[:, kept]),
        "MD": peptide.every_torsion(peptide.xyz[1::2, ::2].reshape(-1, *peptide.xyz.shape[2:])).reshape(
            len(peptide.xyz) // 2, -1, int(peptide.chain.mask.sum())
        ),
    }
    truth = peptide.every_torsion(peptide.xyz[::2, ::2].reshape(-1, *peptide.xyz.shape[2:]))
    truth = truth.reshape(len(peptide.xyz) // 2, -1, truth.shape[-1])
    scored = [list(map(tuple, np.argwhere(peptide.chain.mask))).index(key) for key in scored_torsions(peptide.chain)]
    result = {}
    for name, made in sets.items():
        curves = [[torsion_autocorrelation([run[:, c] for run in x], 40)[1:] for c in scored] for x in (truth, made)]
        result[name] = {
            "distance": float(np.mean([distance(truth[..., c].ravel(), made[..., c].ravel()) for c in scored])),
            "autocorrelation rms": float(np.sqrt(np.square(np.subtract(*curves)).mean())),
        }
    return result


def _angles(peptide: Peptide, model: Propagator, tokens: torch.Tensor) -> NDArray[Any]:
    """Torsions (walkers, frames, torsions) of tokens (walkers, frames, residues, axes)."""
    angles = model.module.torsions(tokens.flatten(0, 1)).numpy()[:, peptide.chain.mask]
    return angles.reshape(*tokens.shape[:2], -1)


def means(scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean over peptides of every number that all of them have."""
    out: dict[str, Any] = {}
    for row in scores.values():
        for key, value in row.items():
            if isinstance(value, dict):
                for inner, number in value.items():
                    out.setdefault(f"{key}: {inner}", []).append(number)
    return {key: round(float(np.mean(values)), 4) for key, values in out.items()}


SCORES = {
    "paths": score_paths, "upsample": score_upsample, "inpaint": score_inpaint, "design": score_design,
    "forward": score_forward,
}  # fmt: skip


def main() -> None:
    """Measure what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=list(SCORES))
    parser.add_argument("reference", type=Path)
    parser.add_argument("--work", type=Path, default=Path("scores"))
    parser.add_argument("--only", nargs="*", help="names of peptides; tetrapeptides where left out")
    asked = parser.parse_args()
    asked.work.mkdir(parents=True, exist_ok=True)
    file = asked.work / f"{asked.what}.json"
    scores = json.loads(file.read_text()) if file.exists() else {}
    for name, pdb in peptides(asked.reference).items():
        wanted = name in asked.only if asked.only else len(name) == 4
        if not wanted or name in scores:
            continue
        scores[name] = SCORES[asked.what](Peptide(name, pdb, asked.work), asked.work)
        print(name, json.dumps(scores[name]), flush=True)
        file.write_text(json.dumps(scores, indent=1) + "\n")
    print(json.dumps(means(scores), indent=1))


if __name__ == "__main__":
    main()
