"""Torsions that a model draws for molecules that it has not seen, beside a table of torsion types and exact chains.

    python examples/ligands/score_torsions.py torsions.pt --train data/train --test data/test

Folders come from torsion_data.py. Judged at the temperature of the coldest rung, against the later four fifths of the
first half of the ladders: the Jensen-Shannon distance of every torsion that is drawn (bins of 10 degrees) and of every
two whose bonds share an atom (30 degrees), mean over a molecule, then over molecules, of 1,000 draws. Beside: 1,000
structures of the other ladders (the floor); of these one rung further up, which is what a wrong temperature costs; and
a table, the mean density of each torsion type among the molecules to learn from. A type is symbol, hybridisation,
aromaticity and ring of the four atoms, or of the inner two where that was never seen; mirror images count alike, and
torsions are independent.
Needs `pip install '.[ligands]'`.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from rdkit import Chem
from train_torsions import Sampled

from latentmd.analysis.statistics import js_distance
from latentmd.model.torsion_graph import load_torsions
from latentmd.sampling.torsion_draws import draw_torsions

SINGLE, JOINT, DRAWS = 36, 12, 1000


def histogram(angles: np.ndarray, bins: int) -> np.ndarray:
    """Counts of torsions (structures, torsions) in radians on a grid with so many bins a torsion."""
    edges = [np.linspace(-np.pi, np.pi, bins + 1)] * angles.shape[1]
    return np.histogramdd(angles, edges)[0]


class Table:
    """Mean densities of torsion types, shape (SINGLE,), and where a type was never seen of the two inner atoms."""

    def __init__(self, molecules: list[tuple[Sampled, Chem.Mol]]) -> None:
        self.densities: dict[tuple[str, ...], np.ndarray] = defaultdict(lambda: np.full(SINGLE, 1e-3))
        for sampled, mol in molecules:
            for column, t in enumerate(sampled.columns):
                if sampled.graph.drawn[t]:
                    counts = histogram(sampled.angles[0][:, [column]], SINGLE)
                    density = (counts + counts[::-1]) / counts.sum() / 2
                    for kind in kinds(mol, sampled.graph.quads[t].tolist()):
                        self.densities[kind] = self.densities[kind] + density

    def density(self, mol: Chem.Mol, quad: list[int]) -> np.ndarray:
        """Density of a torsion, shape (SINGLE,)."""
        found = next((kind for kind in kinds(mol, quad) if kind in self.densities), None)
        density = np.ones(SINGLE) if found is None else self.densities[found]
        return np.asarray(density / density.sum())


def kinds(mol: Chem.Mol, quad: list[int]) -> list[tuple[str, ...]]:
    """Torsion types from the most to the least special."""
    atoms = [mol.GetAtomWithIdx(i) for i in quad]
    names = [f"{a.GetSymbol()} {a.GetHybridization()} {a.GetIsAromatic()} {a.IsInRing()}" for a in atoms]
    return [min(tuple(found), tuple(found[::-1])) for found in (names, names[1:3])]


def distances(a: np.ndarray, b: np.ndarray, couples: list[tuple[int, int]]) -> tuple[float, float]:
    """Mean distances of single torsions and of couples between structures (structures, torsions)."""
    single = [js_distance(histogram(a[:, [i]], SINGLE), histogram(b[:, [i]], SINGLE)) for i in range(a.shape[1])]
    joint = [js_distance(histogram(a[:, [*c]], JOINT), histogram(b[:, [*c]], JOINT)) for c in couples]
    return float(np.mean(single)), float(np.mean(joint)) if joint else float("nan")


def score(path: Path, model: torch.nn.Module, table: Table) -> dict[str, object]:
    """Distances of one molecule."""
    one, data = Sampled(path), np.load(path)
    mol = Chem.MolFromMolBlock(str(data["ligand"]), removeHs=False)
    rng, generator = np.random.default_rng(0), torch.Generator().manual_seed(0)
    kept = np.flatnonzero(one.graph.drawn.numpy()[one.columns])
    turned = one.columns[kept]
    quads = one.graph.quads[turned].tolist()
    couples = [(i, j) for i, j in combinations(range(len(kept)), 2) if set(quads[i][1:3]) & set(quads[j][1:3])]
    late = data["angles"][len(data["angles"]) // 5 :, :, :, kept]  # sweeps, ladders, rungs, torsions
    half = late.shape[1] // 2
    reference = late[:, :half, 0].reshape(-1, len(kept))
    again, hotter = (rng.permutation(late[:, half:, rung].reshape(-1, len(kept)))[:DRAWS] for rung in (0, 1))
    drawn = draw_torsions(model, one.graph, one.kelvin[:1].repeat(DRAWS), generator)[:, turned]
    bins = [rng.choice(SINGLE, DRAWS, p=table.density(mol, quad)) for quad in quads]
    by_table = (np.array(bins).T + rng.random((DRAWS, len(quads)))) / SINGLE * 2 * np.pi - np.pi
    found = {"model": drawn, "table": by_table, "floor": again, "next rung": hotter}
    rows = {key: distances(reference, values, couples) for key, values in found.items()}
    return {"smiles": one.smiles, "atoms": len(one.graph.x), "torsions": len(kept), **rows}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--test", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("score.json"))
    given = parser.parse_args()
    model, _ = load_torsions(given.model)
    learnt = [(Sampled(path), np.load(path)["ligand"]) for path in sorted(given.train.glob("*.npz"))]
    table = Table([(s, Chem.MolFromMolBlock(str(block), removeHs=False)) for s, block in learnt])
    rows = {path.stem: score(path, model, table) for path in sorted(given.test.glob("*.npz"))}
    for key in ("model", "table", "floor", "next rung"):
        single, joint = np.nanmean([row[key] for row in rows.values()], axis=0)
        print(f"{key:10s} torsions {single:.3f}  neighbouring ones {joint:.3f}")
    best = np.mean([row["model"][0] < row["table"][0] for row in rows.values()])
    print(f"{len(rows)} molecules, {best:.0%} nearer by the model than by the table")
    given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
