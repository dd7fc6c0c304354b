"""Train a model of many peptides within a wall-time budget; needs torch, numpy, scipy and networkx alone.

python -m latentmd.training.peptides.run --data FOLDER --pack PACK.npz --out FOLDER --seconds 300
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from latentmd.decoders.residues import ResidueStatistics
from latentmd.model.peptide_file import load_peptides
from latentmd.model.peptides import PeptideConfig, PeptideModel
from latentmd.molecule.chain import TYPES
from latentmd.systems.protocol import Protocol
from latentmd.training.peptides.data import (
    Peptides,
    Sampler,
    Trajectory,
    folder_trajectories,
    packed_trajectories,
    read,
)
from latentmd.training.peptides.output import write_model
from latentmd.training.peptides.stages import Schedule, fit_type_basis, train_latent, train_step
from latentmd.training.peptides.validation import likelihoods, residue_table, validate


class PeptideRun:
    """One training run: what it was asked, its clock, its log and what it measured."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options, self.begin = options, time.monotonic()
        self.out = Path(options.out)
        self.out.mkdir(parents=True, exist_ok=True)
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.report: dict[str, Any] = {"options": vars(options), "device": str(self.device), "seconds": {}}

    @property
    def spent(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.begin

    def log(self, text: str) -> None:
        """Print a line with the time."""
        print(f"{self.spent:7.1f} {text}", flush=True)

    def stamp(self, stage: str) -> None:
        """Note when a stage ended, and write the report so far."""
        self.report["seconds"][stage] = round(self.spent, 1)
        self.log(f"{stage} done")
        (self.out / "peptides.json").write_text(json.dumps(self.report, indent=1))

    def trajectories(self, split: str) -> Iterator[Trajectory]:
        """Peptides of "train" or "validation"."""
        o = self.options
        if o.pack:
            return packed_trajectories(Path(o.data), split, Path(o.pack))
        names = sorted(path.stem for path in Path(o.data).glob("*.npz"))
        held = set(o.validation.split(","))
        return folder_trajectories(Path(o.data), [n for n in names if (n in held) == (split == "validation")])


def write_thinned(peptides: Peptides, path: Path, limit: float) -> None:
    """Write torsions in steps of 1.4 degrees, as many frames as fit into `limit` bytes before compression.

    Args:
        peptides: the training data.
        path: of the `.npz` file.
        limit: bytes before compression.
    """
    used = sum(int((g.lanes * g.frames * g.mask.sum((1, 2))).sum()) for g in peptides.groups.values())
    stride = max(1, int(np.ceil(used / limit)))
    arrays: dict[str, Any] = {}
    for group in peptides.groups.values():
        for k, name in enumerate(group.names):
            lanes, frames, start = int(group.lanes[k]), int(group.frames[k]), int(group.start[k])
            own = group.angles[start : start + lanes * frames].reshape(lanes, frames, *group.mask.shape[1:])
            kept = own[:, ::stride][:, :, group.mask[k].to(own.device)].cpu().numpy()
            arrays[name] = ((kept.astype(np.int32) + 32768) >> 8).astype(np.uint8)
    np.savez_compressed(path, stride=np.array(stride), interval=np.array(peptides.interval), **arrays)


def train(options: argparse.Namespace) -> None:
    """Read, train every stage within its share of the budget, validate, write."""
    torch.manual_seed(options.seed)
    torch.set_float32_matmul_precision("high")
    run, statistics = PeptideRun(options), ResidueStatistics()
    peptides = read(run.trajectories("train"), run.device, statistics)
    unseen = read(run.trajectories("validation"), run.device)
    if not peptides.count:
        raise SystemExit(f"{options.data} holds no trajectories of training peptides")
    run.log(f"{peptides.count} peptides, {peptides.n_frames} frames; validation {unseen.count}, {unseen.n_frames}")
    table = residue_table(peptides)
    run.stamp("read")
    if options.keep_bytes:
        write_thinned(peptides, run.out / "train_torsions.npz", options.keep_bytes)
        run.stamp("thinned")
    peptides, unseen = peptides.to(run.device), unseen.to(run.device)
    generator = torch.Generator(device=run.device).manual_seed(options.seed)
    longest = min(options.longest, max(float(g.frames.max() - 1) for g in peptides.groups.values()) * peptides.interval)
    sampler = Sampler(peptides, longest, generator)
    model = _model(run, longest, statistics)
    shape = (options.molecules, options.rows)
    if not options.start:
        budget = options.latent_share * (options.seconds - run.spent - options.reserve)
        run.report["latent"] = train_latent(model, sampler, Schedule(budget, options.steps), shape, run.log)
        run.stamp("latent")
        found = fit_type_basis(model, sampler, 100.0, options.basis_batches, (max(1, options.molecules // 4), 64))
        run.report["autocorrelation"] = {t: [round(float(x), 3) for x in found[k]] for k, t in enumerate(TYPES)}
        run.stamp("basis")
    budget = options.seconds - run.spent - options.reserve

    def checkpoint() -> None:
        torch.save({"weights": model.state_dict(), "table": model.table}, run.out / "checkpoint.pt")
        if not unseen.count:
            return
        model.step.eval()
        value = likelihoods(model, unseen, 10, longest)
        model.step.train()
        run.log("validation " + " ".join(f"{k} {v:.4f}" for k, v in value.items()))
        run.report.setdefault("course", []).append([round(run.spent, 1), value])

    model.step.train()
    run.report["step"] = train_step(
        model,
        sampler,
        schedule=Schedule(budget, options.steps),
        shape=shape,
        log=run.log,
        checkpoint=checkpoint,
        peak=options.rate,
    )
    model.eval()
    run.stamp("step")
    write_model(
        run.out / "peptides.pt",
        model,
        table,
        list(peptides.chains.values()),
        protocol=Protocol(),
        frame_interval=peptides.interval,
        held_out=[chain.sequence for chain in unseen.chains.values()],
        training={"seconds": run.report["seconds"], "peptides": peptides.count, "frames": peptides.n_frames},
    )
    run.stamp("written")
    if not unseen.count:
        return
    run.report["likelihood"] = likelihoods(model, unseen, 20, longest)
    run.stamp("likelihood")
    run.report["validation"] = validate(
        model, table, peptides=unseen, rows=options.rollouts, lags=(100.0, 400.0), steps=options.rollout_steps
    )
    run.log(json.dumps(run.report["validation"].get("4", {}), indent=1))
    run.stamp("validation")


def _model(run: PeptideRun, longest: float, statistics: ResidueStatistics) -> PeptideModel:
    o = run.options
    if o.start:
        model = load_peptides(o.start).model
    else:
        sizes = json.loads(o.sizes)
        model = PeptideModel(PeptideConfig(**sizes, lags=(10.0, longest), dropout=o.dropout))
    model.table = {**model.table, **statistics.table()}
    count = sum(p.numel() for p in model.parameters())
    run.log(f"{count} parameters, {len(model.table)} kinds of residues")
    return model.to(run.device)


def main() -> None:
    """Read the command line and train."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--data", required=True)
    add("--pack", default="", help="pack of topologies; without it DATA holds NAME.pdb and NAME.npz")
    add("--validation", default="", help="names to hold out, where there is no pack")
    add("--out", required=True)
    add("--seconds", type=float, default=300, help="wall time of everything but the interpreter's start")
    add("--reserve", type=float, default=30, help="of these, for validation and writing")
    add("--latent-share", type=float, default=0.2, help="of what is left after reading")
    add("--steps", type=int, default=10**9, help="most steps of a stage")
    add("--molecules", type=int, default=512)
    add("--rows", type=int, default=16)
    add("--basis-batches", type=int, default=100)
    add("--longest", type=float, default=500.0, help="longest lag, ps")
    add("--rate", type=float, default=1e-3)
    add("--dropout", type=float, default=0.1)
    add("--sizes", default="{}", help="fields of PeptideConfig as JSON")
    add("--start", default="", help="model to go on from; its latent and basis are kept")
    add("--rollouts", type=int, default=1000)
    add("--rollout-steps", type=int, default=100)
    add("--keep-bytes", type=float, default=0, help="write torsions of the training set in so many bytes")
    add("--seed", type=int, default=0)
    train(parser.parse_args())


if __name__ == "__main__":
    main()
