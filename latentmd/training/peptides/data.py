"""Trajectories of many peptides as torsions in memory, and the statistics of everything else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.decoders.residues import ResidueStatistics, internal_vector
from latentmd.molecule.chain import Chain

TURN = 32767 / np.pi  # stored units per radian


class Trajectory(NamedTuple):
    """One peptide's frames (lanes, frames, atoms, 3) in int16 picometres, `interval` ps apart; lanes are runs."""

    name: str
    chain: Chain
    frames: NDArray[np.int16]
    interval: float


@dataclass
class Group:
    """All peptides of one number of tokens, so that a batch needs no padding."""

    names: list[str]
    types: Tensor  #: [peptides, tokens, 3] long
    mask: Tensor  #: [peptides, tokens, slots] bool
    angles: Tensor  #: [frames, tokens, slots] int16, every lane in one piece
    start: Tensor  #: [peptides] long, first row
    lanes: Tensor  #: [peptides] long, number of lanes
    frames: Tensor  #: [peptides] long, frames of a lane

    def to(self, device: torch.device) -> Group:
        """The same on a device."""
        parts = [x.to(device) for x in (self.types, self.mask, self.angles, self.start, self.lanes, self.frames)]
        return Group(self.names, *parts)


@dataclass
class Peptides:
    """Torsions of many peptides by number of tokens, `interval` ps apart, and their chains by name."""

    groups: dict[int, Group]
    interval: float
    chains: dict[str, Chain]

    @property
    def count(self) -> int:
        """Number of peptides."""
        return sum(len(group.names) for group in self.groups.values())

    @property
    def n_frames(self) -> int:
        """Number of frames."""
        return sum(len(group.angles) for group in self.groups.values())

    def __str__(self) -> str:
        return f"{self.count} peptides of {self.n_frames:,} frames"


def collect(rows: list[tuple[str, Chain, Tensor]], interval: float) -> Peptides:
    """Group peptides (name, chain, angles [lanes, frames, tokens, slots] int16) by length."""
    groups: dict[int, Group] = {}
    for tokens in sorted({len(c.names) for _, c, _ in rows}):
        names, chains, angles = zip(*(row for row in rows if len(row[1].names) == tokens), strict=True)
        lanes, frames = torch.tensor([x.shape[:2] for x in angles]).T
        groups[tokens] = Group(
            list(names),
            torch.stack([torch.from_numpy(c.types) for c in chains]),
            torch.stack([torch.from_numpy(c.mask) for c in chains]),
            angles=torch.cat([x.flatten(0, 1) for x in angles]),
            start=(lanes * frames).cumsum(0) - lanes * frames,
            lanes=lanes,
            frames=frames,
        )
    return Peptides(groups, interval, {name: c for name, c, _ in rows})


class Batch(NamedTuple):
    """Pairs of frames [batch, tokens, slots] in radians, `lag` ps apart; rows of one peptide stand together."""

    now: Tensor
    later: Tensor
    types: Tensor
    mask: Tensor
    lag: Tensor

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        return Batch(*(part.to(device) for part in self))


class Sampler:
    """Batches of pairs, balanced over peptides, with lags log-uniform up to the longest, in ps."""

    def __init__(self, peptides: Peptides, longest: float) -> None:
        self.peptides, self.longest = peptides, longest
        self.lengths = list(peptides.groups)
        self.weights = torch.tensor([float(len(g.names)) for g in peptides.groups.values()])

    def draw(self, molecules: int, rows: int, generator: torch.Generator) -> Batch:
        """A batch of `molecules` peptides of one length, drawn with replacement, with `rows` pairs each."""
        group = self.peptides.groups[self.lengths[int(torch.multinomial(self.weights, 1, generator=generator))]]
        u = torch.rand(3, molecules * rows, generator=generator)
        which = torch.randint(len(group.names), (molecules,), generator=generator).repeat_interleave(rows)
        lanes, frames = group.lanes[which], group.frames[which]
        limit = torch.minimum((frames - 1).float(), torch.full_like(u[0], self.longest / self.peptides.interval))
        lag = torch.exp(u[0] * torch.log(limit + 0.499)).round().clamp_min(1).minimum(limit).long()
        lane = (u[1] * lanes).long().clamp(max=lanes - 1)
        first = (u[2] * (frames - lag)).long().minimum(frames - lag - 1)
        row = group.start[which] + lane * frames + first
        now, later = group.angles[row].float() / TURN, group.angles[row + lag].float() / TURN
        return Batch(now, later, group.types[which], group.mask[which], lag.float() * self.peptides.interval)


def read(
    trajectories: Iterator[Trajectory], device: torch.device, statistics: ResidueStatistics | None = None
) -> Peptides:
    """Torsions of all frames of many peptides with one interval; what does not turn is added to the statistics."""
    rows, intervals = [], set()
    for item in trajectories:
        lanes, frames, atoms, _ = item.frames.shape
        coordinates = InternalCoordinates(list(item.chain.record.labels), item.chain.layout).to(device)
        stored = torch.from_numpy(np.array(item.frames)).to(device).reshape(-1, atoms, 3)
        slots = torch.from_numpy(item.chain.slots).to(device)
        parts = []
        for chunk in stored.split(8192):
            vector = internal_vector(coordinates, chunk.float() * 1e-3)
            torsions = vector[:, 2 * atoms - 3 :]
            absolute = torsions[:, slots.clamp_min(0).flatten()].reshape(-1, *slots.shape) * (slots >= 0)
            parts.append((absolute * TURN).round().clamp(-32767, 32767).to(torch.int16))
            if statistics is not None:
                statistics.add(item.chain, vector, absolute)
        rows.append((item.name, item.chain, torch.cat(parts).reshape(lanes, frames, *slots.shape).cpu()))
        intervals.add(item.interval)
    if len(intervals) > 1:
        raise ValueError(f"expected trajectories with one interval between frames, found {sorted(intervals)} ps")
    return collect(rows, intervals.pop() if intervals else 0.0)
