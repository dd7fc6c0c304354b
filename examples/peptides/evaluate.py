"""Unseen peptides: the model beside the residue table, a short MD run, and two halves of the reference.

    python examples/peptides/evaluate.py MODEL --torsions test_torsions_0.npz --pack peptides.npz --out unseen.json

The reference holds for each NAME `NAME:torsions` uint16 (runs, frames, torsions), angle = value.view(int16) · 2π/65536,
and `NAME:names` such as phi1, psi0, chi1_2, whose numbers count residues and caps from 0.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.core.steps.torsions import EVER
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
from latentmd.model.peptides import PeptideModel
from latentmd.molecule.chain import SLOTS, Chain, chain
from latentmd.training.peptides.data import packed_chemistry

CHUNK = 2000  # chains that are drawn together


def reference_lanes(chain: Chain, data: Any, name: str) -> tuple[NDArray[np.float32], set[tuple[int, int]]]:
    """Torsions (runs, frames, tokens, slots) and which of them the file holds."""
    raw = data[f"{name}:torsions"].view(np.int16).astype(np.float32) * (2 * np.pi / 65536)
    out = np.zeros((*raw.shape[:2], len(chain.names), len(SLOTS)), dtype=np.float32)
    known = set()
    for k, label in enumerate(str(x) for x in data[f"{name}:names"]):
        head, _, tail = label.partition("_")
        slot = head.rstrip("0123456789") if not tail else head
        if slot not in SLOTS or slot == "omega":
            continue
        token = int(tail or head[len(slot) :])
        out[:, :, token, SLOTS.index(slot)] = raw[:, :, k]
        known.add((token, SLOTS.index(slot)))
    return out, known


class Rollouts:
    """Rollouts of a model for one peptide.

    Args:
        model: the model.
        chain: the peptide.
        seed: of the random numbers.
    """

    def __init__(self, model: PeptideModel, chain: Chain, seed: int) -> None:
        self.model, self.types = model, torch.from_numpy(chain.types).unsqueeze(0)
        self.mask = torch.from_numpy(chain.mask).unsqueeze(0)
        self.generator = torch.Generator().manual_seed(seed)

    @torch.no_grad()
    def step(self, angles: torch.Tensor | None, rows: int, lag: float) -> torch.Tensor:
        """Torsions [rows, tokens, slots] a lag after `angles`; of equilibrium where these are None."""
        types, mask = self.types.expand(rows, -1, -1), self.mask.expand(rows, -1, -1)
        if angles is None:
            slow, lag = torch.zeros(*mask.shape[:2], self.model.config.n_slow), EVER
        else:
            slow = self.model.encode(angles, types, mask)
        uniform = torch.rand(mask.shape, generator=self.generator)
        return self.model.step.sample(slow, types, mask, torch.full((rows,), lag), uniform)

    def ever(self, count: int) -> NDArray[np.float32]:
        """Independent draws (1, count, tokens, slots)."""
        parts = [self.step(None, min(CHUNK, count - k), 0.0).numpy() for k in range(0, count, CHUNK)]
        return np.concatenate(parts)[None]

    def run(self, walkers: int, steps: int, lag: float) -> NDArray[np.float32]:
        """Rollouts (steps, walkers, tokens, slots) from draws of equilibrium."""
        angles, out = self.step(None, walkers, 0.0), []
        for _ in range(steps):
            angles = self.step(angles, walkers, lag)
            out.append(angles.numpy())
        return np.stack(out)


def scores(reference: Unseen, table: ResidueTable, rollouts: Rollouts, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is measured of one peptide."""
    runs, interval = reference.runs, reference.interval
    frames = reference.frames
    short = round(12000 / interval)
    count = options.frames
    begin = time.perf_counter()
    walkers = max(1, count // 200)
    long = run_columns(reference, rollouts.run(walkers, 200, 100.0))
    seconds = (time.perf_counter() - begin) / (200 * walkers)
    quick = run_columns(reference, rollouts.run(40, 300, interval))
    ever = run_columns(reference, rollouts.ever(count).swapaxes(0, 1))
    out: dict[str, Any] = {
        "half": distribution_scores(reference, runs[::2], np.concatenate(runs[1::2])),
        "12 ns MD": distribution_scores(reference, [frames[:short]], frames[short:]),
        "table": distribution_scores(reference, [table_frames(table, reference, count, 0)]),
        "equilibrium": distribution_scores(reference, ever),
        "rollout 100 ps": distribution_scores(reference, long),
        "rollout 10 ps": distribution_scores(reference, quick),
    }
    md, mine = (decorrelation_times(r, interval, 2000.0) for r in (runs, quick))
    both = np.isfinite(md) & np.isfinite(mine) & (md > interval)
    slow = slowest_timescale(reference, runs, interval), slowest_timescale(reference, long, 100.0)
    out["kinetics"] = {
        "decorrelation ratio": float(np.median(mine[both] / md[both])) if both.any() else float("nan"),
        "slowest md": slow[0], "slowest model": slow[1], "ratio": slow[1] / slow[0], "ms per step": 1e3 * seconds,
    }  # fmt: skip
    return out


def main() -> None:
    """Read the command line and evaluate."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("--torsions", nargs="+", required=True)
    parser.add_argument("--pack", required=True)
    parser.add_argument("--out", required=True)
    parser.add_argument("--interval", type=float, default=10.0)
    parser.add_argument("--temperature", type=float, default=350.0)
    parser.add_argument("--frames", type=int, default=20000)
    parser.add_argument("--only", default="", help="names, joined by commas")
    options = parser.parse_args()
    torch.set_num_threads(1)
    model = PeptideModel.load(Path(options.model))
    saved = torch.load(options.model, map_location="cpu", weights_only=True)
    table = ResidueTable(saved["table_counts"].numpy().astype(float), saved["planes"].numpy().astype(float))
    pack = dict(np.load(options.pack))
    rows = {k[:-6]: np.concatenate([[0], np.cumsum(pack[k])]) for k in pack if k.endswith("_count")}
    place = {str(name): k for k, name in enumerate(pack["name"])}
    found: dict[str, Any] = {}
    for path in options.torsions:
        data = np.load(path)
        for name in [key.split(":")[0] for key in data.files if key.endswith(":torsions")]:
            if options.only and name not in options.only.split(","):
                continue
            k = place[name]
            peptide = chain(packed_chemistry(pack, k, rows), pack["start"][rows["start"][k] : rows["start"][k + 1]])
            lanes, known = reference_lanes(peptide, data, name)
            reference = unseen(peptide, lanes, options.interval, options.temperature, known)
            found[name] = scores(reference, table, Rollouts(model, peptide, 0), options)
            print(name, lanes.shape[:2], json.dumps(found[name], default=float), flush=True)
            Path(options.out).write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
