"""Figures of paths of peptides that the bundled model of many peptides was not trained on, against held-out MD.

    python examples/paths/score_peptides.py paths REFERENCE --work scores

REFERENCE is the folder that examples/peptides/score.py takes. Half of the runs of each peptide is the reference, the
other half the MD beside it. Nothing is chosen on these trajectories. Results are printed and kept in
<work>/<name>.json; a peptide that is in it is not scored again.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
from numpy.typing import NDArray
from openmm.app import PDBFile
from score import PATHS, Reference, replicates

from latentmd import paths
from latentmd.analysis.features import feature_spec
from latentmd.model.binding import bind

INTERVAL = 5.0  # ps, of the reference
LAG = 20  # frames: 100 ps
PAIRS = 4  # pairs of ends that the scored paths are shared by
SHORT = 2  # runs in the shorter replicate MD: 25 ns of the test set


class Peptide:
    """One peptide: its MD, its torsions and the bundled model bound to it."""

    def __init__(self, pdb: Path, work: Path) -> None:
        self.name, self.pdb = pdb.stem, pdb
        self.xyz = np.load(pdb.with_suffix(".npz"), mmap_mode="r")["xyz"]
        self.topology = mdtraj.load_topology(str(pdb))
        spec = feature_spec(self.topology)
        self.kept = [i for i, name in enumerate(spec.names) if not name.startswith("omega")]
        self.spec = spec
        self.model = work / f"{self.name}.pt"
        if not self.model.exists():
            structure = PDBFile(str(pdb))
            bind(structure.topology, np.asarray(structure.getPositions(asNumpy=True)._value), self.model)

    def torsions(self, xyz: NDArray[Any]) -> NDArray[Any]:
        """φ, ψ and χ in radians, shape (..., torsions)."""
        flat = np.asarray(xyz).reshape(-1, *xyz.shape[-2:])
        found = [self.spec.values(flat[i : i + 20_000])[:, self.kept] for i in range(0, len(flat), 20_000)]
        return np.concatenate(found).reshape(*xyz.shape[:-2], -1)

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


def means(scores: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Mean over peptides of every number that all of them have."""
    out: dict[str, Any] = {}
    for row in scores.values():
        for key, value in row.items():
            if isinstance(value, dict):
                for inner, number in value.items():
                    out.setdefault(f"{key}: {inner}", []).append(number)
    return {key: round(float(np.mean(values)), 4) for key, values in out.items()}


SCORES = {"paths": score_paths}


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
    for pdb in sorted(asked.reference.glob("*.pdb")):
        wanted = pdb.stem in asked.only if asked.only else len(pdb.stem) == 4
        if not wanted or pdb.stem in scores:
            continue
        scores[pdb.stem] = SCORES[asked.what](Peptide(pdb, asked.work), asked.work)
        print(pdb.stem, json.dumps(scores[pdb.stem]), flush=True)
        file.write_text(json.dumps(scores, indent=1) + "\n")
    print(json.dumps(means(scores), indent=1))


if __name__ == "__main__":
    main()
