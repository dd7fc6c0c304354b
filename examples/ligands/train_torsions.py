"""Train the model of torsions of any molecule on exact chains of many.

    python examples/ligands/train_torsions.py data/train --minutes 40 --out torsions.pt

`data/train` is what torsion_data.py wrote. A tenth of the molecules, none with the scaffold of another one in
training, is left out to judge by: mean ln p per torsion in nats, given known torsions as in training, printed twenty
times beside that of a uniform density (-1.84). Adam with a one-cycle rate; weights are averaged over the last steps.
Stops at the time or the steps, whatever is first; with the same data, seed and steps it gives the same weights.
Needs `pip install '.[ligands]'`.
"""

from __future__ import annotations

import argparse
import copy
import time
from pathlib import Path

import networkx
import numpy as np
import openmm
import torch
from molecules import scaffold

from latentmd.model.torsion_graph import Batch, GraphTorsions, TorsionGraph, TorsionManifest, save_torsions
from latentmd.molecule.bonds import bond_graph
from latentmd.molecule.torsions import isomer_torsions
from latentmd.replicas.terms import read_terms
from latentmd.sampling.torsion_draws import torsion_graph
from latentmd.systems.ligands import CHARGES, SAGE


class Sampled:
    """A molecule of the data: its graph, angles of all its torsions in the chains, and how far torsions are apart."""

    def __init__(self, path: Path) -> None:
        data = np.load(path)
        terms = read_terms(openmm.XmlSerializer.deserialize(str(data["system"])))
        symbols, bonds, turned = data["symbols"].tolist(), data["bonds"], data["quads"]
        self.smiles, self.kelvin = str(data["smiles"]), data["temperatures"]
        self.graph = torsion_graph(terms, symbols, bonds, data["reference"], turned[drawn(symbols, bonds, data)])
        self.columns = self.places(turned)
        self.angles = data["angles"].transpose(2, 0, 1, 3).reshape(len(self.kelvin), -1, len(turned))
        far = dict(networkx.all_pairs_shortest_path_length(bond_graph(len(symbols), bonds)))
        middles = self.graph.quads[:, 1:3].tolist()
        self.apart = np.array([[sum(far[a][b] for a in m for b in n) for n in middles] for m in middles]) / 4

    def places(self, turned: np.ndarray) -> np.ndarray:
        """Number in the graph of each torsion of the chains."""
        middles = [frozenset(quad[1:3]) for quad in self.graph.quads.tolist()]
        return np.array([middles.index(frozenset(quad[1:3])) for quad in turned.tolist()])

    def example(self, rng: np.random.Generator) -> TorsionGraph:
        """One structure of a random rung with the torsions of a random part known; `target` those to be predicted."""
        one = copy.copy(self.graph)
        rung = int(rng.integers(len(self.kelvin)))
        angles = self.graph.angles.numpy().copy()
        angles[self.columns] = self.angles[rung, rng.integers(self.angles.shape[1])]
        free = np.flatnonzero(self.graph.drawn.numpy())
        far = self.apart[rng.choice(free), free] + rng.random(len(free))
        known = self.graph.stays.numpy().copy()
        known[free[np.argsort(far)[: rng.integers(len(free))]]] = True
        one.angles, one.known = torch.from_numpy(angles), torch.from_numpy(known)
        one.target = one.drawn & ~one.known
        one.kelvin = torch.tensor([self.kelvin[rung]], dtype=torch.float32)
        one.hand = torch.tensor([float(rng.choice((-1, 1)))])
        return one


def drawn(symbols: list[str], bonds: np.ndarray, data: np.lib.npyio.NpzFile) -> np.ndarray:
    """Torsions of the chains that are drawn: those that their moves draw, and amides without a hydrogen, which flip."""
    near = bond_graph(len(symbols), bonds)
    secondary = {i for i in near if symbols[i] == "N" and any(symbols[j] == "H" for j in near[i])}
    amides = {frozenset(q[1:3]) for q in isomer_torsions(symbols, bonds).tolist() if not secondary & set(q[1:3])}
    flips = [i for i, quad in enumerate(data["quads"].tolist()) if frozenset(quad[1:3]) in amides]
    return np.array(sorted({*data["drawn"].tolist(), *flips}), dtype=np.int64)


def loss(model: GraphTorsions, batch: Batch) -> torch.Tensor:
    """Minus mean ln p of the torsions to be predicted, nats."""
    coefficients = model(batch, batch.angles, batch.known, batch.kelvin, batch.hand)
    return -model.log_density(coefficients, batch.angles)[batch.target].mean()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--minutes", type=float, default=40.0)
    parser.add_argument("--steps", type=int, default=8000)
    parser.add_argument("--batch", type=int, default=96)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--depth", type=int, default=4)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--decay", type=float, default=1e-2)
    parser.add_argument("--most", type=int, default=10**6, help="molecules to learn from")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, default=Path("torsions.pt"))
    given = parser.parse_args()
    begun, rng = time.monotonic(), np.random.default_rng(given.seed)
    torch.manual_seed(given.seed)
    molecules = [Sampled(path) for path in sorted(given.data.glob("*.npz"))]
    scaffolds = sorted({scaffold(m.smiles) for m in molecules})
    out = set(np.random.default_rng(0).choice(scaffolds, max(1, len(scaffolds) // 10), replace=False).tolist())
    held = [m for m in molecules if scaffold(m.smiles) in out and m.graph.drawn.any()]
    train = [m for m in molecules if scaffold(m.smiles) not in out and m.graph.drawn.any()]
    train = [train[i] for i in rng.permutation(len(train))[: given.most]]
    judged = [Batch.from_data_list([m.example(np.random.default_rng(k)) for m in held]) for k in range(8)]
    print(f"{len(train)} molecules to learn from, {len(held)} left out; read in {time.monotonic() - begun:.0f} s")
    model = GraphTorsions(given.width, given.depth)
    optimiser = torch.optim.AdamW(model.parameters(), lr=given.rate, weight_decay=given.decay)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, given.rate, total_steps=1001, pct_start=0.05)
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(0.995))
    begun, told, recent = time.monotonic(), 0, []
    for step in range(given.steps):
        done = min(max((step + 1) / given.steps, (time.monotonic() - begun) / 60 / given.minutes), 1.0)
        while schedule.last_epoch < int(1000 * done):
            schedule.step()
        batch = Batch.from_data_list([train[i].example(rng) for i in rng.integers(len(train), size=given.batch)])
        optimiser.zero_grad()
        value = loss(model, batch)
        value.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        average.update_parameters(model)
        recent.append(value.item())
        if done * 20 >= told:
            told, scored = told + 1, average.module.eval()
            with torch.no_grad():
                left = -np.mean([loss(scored, batch).item() for batch in judged])
            seconds = time.monotonic() - begun
            print(f"{step:6d} {seconds:6.0f} s  train {-np.mean(recent):.4f}  left out {left:.4f}", flush=True)
            recent = []
            kelvin = [k for m in train for k in (m.kelvin[0], m.kelvin[-1])]
            how = {"steps": step, "left out, ln p": round(float(left), 4), "batch": given.batch, "seed": given.seed}
            ranged, field = (float(min(kelvin)), float(max(kelvin))), f"{SAGE}, {CHARGES}, OBC2"
            manifest = TorsionManifest(temperatures=ranged, molecules=len(train), force_field=field, training=how)
            save_torsions(given.out, scored, manifest)
        if done == 1.0:
            break
