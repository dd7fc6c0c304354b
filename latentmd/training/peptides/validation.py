"""What a model of peptides gets right on peptides it was not trained on, beside the residue table and MD itself."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import torch
from torch import Tensor

from latentmd.arrays import Floats
from latentmd.core.steps.angles import EVER, NOW
from latentmd.evaluation.residue_table import ResidueTable, frame_scores
from latentmd.model.peptides import PeptideModel
from latentmd.training.embedding import device_of
from latentmd.training.peptides.data import TURN, Group, Peptides, Sampler
from latentmd.training.peptides.stages import by_kind_of_lag, step_loss


def residue_table(peptides: Peptides) -> ResidueTable:
    """Histograms over all frames of all peptides."""
    table = ResidueTable.empty()
    for group in peptides.groups.values():
        for k, name in enumerate(group.names):
            table.add(peptides.chains[name], peptide_angles(group, k))
    return table


def peptide_angles(group: Group, k: int) -> Floats:
    """Torsions of all frames of peptide k, [frames, tokens, slots] in radians."""
    start, count = int(group.start[k]), int(group.lanes[k] * group.frames[k])
    return np.asarray(group.angles[start : start + count].cpu().numpy() / TURN)


@torch.no_grad()
def likelihoods(model: PeptideModel, peptides: Peptides, batches: int, longest: float) -> dict[str, float]:
    """Mean negative log-likelihood per torsion on pairs of peptides, for lag 0 ("now"), lags, and lag ∞ ("ever")."""
    generator = torch.Generator().manual_seed(5)
    sampler, found = Sampler(peptides, longest), defaultdict[str, list[Tensor]](list)
    for _ in range(batches):
        _, rows, lag = step_loss(model, sampler.draw(16, 32, generator).to(device_of(model)), generator)
        for name, values in by_kind_of_lag(rows, lag).items():
            found[name].append(values)
    return {name: float(torch.cat(values).mean()) for name, values in found.items()}


@torch.no_grad()
def draw(
    model: PeptideModel, group: Group, rows: int, lag: float, steps: int, keep: int, seed: int = 0
) -> list[Tensor]:
    """Torsions [peptides, rows, tokens, slots] of the last `keep` steps of rollouts from draws at lag ∞."""
    device = group.angles.device
    generator = torch.Generator(device=device).manual_seed(seed)
    types, mask = group.types.repeat_interleave(rows, 0), group.mask.repeat_interleave(rows, 0)
    shape = mask.shape
    slow = torch.zeros(*shape[:2], model.config.n_slow, device=device)
    kept = []
    for k in range(steps + 1):
        lags = torch.full((shape[0],), EVER if k == 0 else lag, device=device)
        angles = model.step.sample(slow, types, mask, lags, torch.rand(shape, device=device, generator=generator))
        slow = model.encode(angles, types, mask)
        if k > steps - keep or steps == 0:
            kept.append(angles.reshape(len(group.names), rows, *shape[1:]))
    return kept


@torch.no_grad()
def redraw(model: PeptideModel, group: Group, rows: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """True torsions and those decoded from their latent, [peptides, rows, tokens, slots]."""
    device = group.angles.device
    generator = torch.Generator(device=device).manual_seed(seed)
    count = (group.lanes * group.frames).unsqueeze(1)
    row = group.start.unsqueeze(1) + (torch.rand(len(count), rows, device=device, generator=generator) * count).long()
    angles = group.angles[row.flatten()].float() / TURN
    types, mask = group.types.repeat_interleave(rows, 0), group.mask.repeat_interleave(rows, 0)
    slow = model.encode(angles, types, mask)
    uniform = torch.rand(mask.shape, device=device, generator=generator)
    drawn = model.step.sample(slow, types, mask, torch.full((len(slow),), NOW, device=device), uniform)
    shape = (len(group.names), rows, *mask.shape[1:])
    return angles.reshape(shape), drawn.reshape(shape)


def _mean(rows: list[dict[str, float]]) -> dict[str, float]:
    keys = sorted({key for row in rows for key in row})
    return {key: float(np.mean([row[key] for row in rows if key in row])) for key in keys}


def validate(
    model: PeptideModel, table: ResidueTable, peptides: Peptides, rows: int, lags: tuple[float, ...], steps: int
) -> dict[str, dict[str, dict[str, float]]]:
    """Mean JS distances to all frames of MD over peptides of each length: of the "table", "half" (lanes of MD against
    the others), "short" (its first 12 ns against the rest), "ever" (draws at lag ∞), "rollout τ" (the last fifth of
    rollouts at lag τ) and "redraw" (latents decoded).
    """
    out: dict[str, dict[str, dict[str, float]]] = {}
    for tokens, of_length in peptides.groups.items():
        group = of_length.to(device_of(model))
        kept = max(1, steps // 5)
        sets = {"ever": [draw(model, group, rows=rows, lag=0.0, steps=0, keep=1, seed=seed)[0] for seed in range(kept)]}
        for lag in lags:
            sets[f"rollout {lag:g}"] = draw(model, group, rows=rows, lag=lag, steps=steps, keep=kept)
        truth, again = redraw(model, group, 4 * rows)
        found: dict[str, list[dict[str, float]]] = defaultdict(list)
        for k, name in enumerate(group.names):
            chain, md = peptides.chains[name], peptide_angles(group, k)
            found["table"].append(table.scores(chain, md))
            lanes = md.reshape(int(group.lanes[k]), -1, *md.shape[1:])
            found["half"].append(frame_scores(chain, np.concatenate(lanes[::2]), np.concatenate(lanes[1::2])))
            short = int(12000 / peptides.interval)
            if len(md) > 4 * short:
                found["short"].append(frame_scores(chain, md[:short], md[short:]))
            for label, frames in sets.items():
                found[label].append(frame_scores(chain, torch.cat([part[k] for part in frames]).cpu().numpy(), md))
            difference = torch.remainder(again[k] - truth[k] + np.pi, 2 * np.pi) - np.pi
            error = float(difference.abs()[:, group.mask[k]].mean() * 180 / np.pi)
            own = frame_scores(chain, again[k].cpu().numpy(), truth[k].cpu().numpy())
            found["redraw"].append(own | {"degrees": error})
        out[str(tokens)] = {label: _mean(scores) for label, scores in found.items()}
    return out


_LABELS = {"half": "two halves of MD", "table": "residue table", "ever": "model, draws", "redraw": "latents decoded"}
_COLUMNS = ("torsions", "backbone", "ramachandran", "neighbours")


def score_table(scores: dict[str, dict[str, dict[str, float]]]) -> str:
    """Text with the scores of `validate`: JS distances, a row per set of frames, a block per number of tokens."""
    lines = []
    for tokens, rows in scores.items():
        lines.append(f"{'JS, ' + tokens + ' residues and caps':28}" + "".join(f"{c:>14}" for c in _COLUMNS))
        for name, row in rows.items():
            label = _LABELS.get(name, f"model, {name} ps" if name.startswith("rollout") else name)
            lines.append(f"{label:28}" + "".join(f"{row[c]:14.3f}" if c in row else f"{'–':>14}" for c in _COLUMNS))
    return "\n".join(lines)
