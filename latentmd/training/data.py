"""Training trajectories: read, checked, strided and split by trajectory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from latentmd.decoders.internal_coordinates import InternalCoordinates
from latentmd.io.trajectory import load_positions
from latentmd.molecule.features import MoleculeGraph, molecule_graph
from latentmd.training.config import TrainingConfig

_STATISTICS_FRAMES = 50_000  # enough for means and spreads of internal coordinates


@dataclass(frozen=True)
class Data:
    """Training trajectories: positions [frames, atoms, 3] nm each, the held-out ones, and the molecule's graph."""

    train: list[NDArray[np.float32]]
    validation: list[NDArray[np.float32]]
    names: dict[str, list[str]]
    topology: Any
    graph: MoleculeGraph


def load_data(trajectories: Sequence[str | Path], top: str | Path, config: TrainingConfig) -> Data:
    """Read, check and stride the trajectories; the last `holdout` of them validate.

    Raises:
        ValueError: too few trajectories for the split, or frames spaced wider than the configured stride.
    """
    import mdtraj

    if len(trajectories) <= config.holdout:
        raise ValueError(
            f"{len(trajectories)} trajectories given and {config.holdout} held out; give at least {config.holdout + 1} "
            "independent runs, or set holdout = 0 to train without validation"
        )
    positions, interval = load_positions(trajectories, top)
    every = round(config.stride / interval)
    if every < 1 or abs(every * interval - config.stride) > 1e-6 * config.stride:
        raise ValueError(
            f"frames are {interval:g} ps apart and stride is {config.stride:g} ps; "
            f"set stride to a multiple of {interval:g}"
        )
    strided = [np.ascontiguousarray(p[::every]) for p in positions]
    names = [Path(t).name for t in trajectories]
    split = len(strided) - config.holdout
    topology = mdtraj.load(str(top)).topology
    return Data(
        strided[:split],
        strided[split:],
        {"train": names[:split], "validation": names[split:]},
        topology,
        molecule_graph(topology),
    )


def some_frames(trajectories: list[NDArray[np.float32]], frames: int = _STATISTICS_FRAMES) -> torch.Tensor:
    """About so many evenly spaced frames over all trajectories, [frames, atoms, 3] nm."""
    every = max(1, sum(map(len, trajectories)) // frames)
    return torch.from_numpy(np.concatenate([t[::every] for t in trajectories]))


def soft_torsions(data: Data, spread: float) -> list[NDArray[np.float32]]:
    """Cosines and sines of the rotatable torsions whose circular deviation exceeds `spread` degrees.

    Rotors of equivalent hydrogens are left out. Returns one array [frames, 2 · torsions] per training trajectory.
    """
    coordinates = InternalCoordinates.from_topology(data.topology)
    index = coordinates.driver_index[coordinates.driver_kind == 0]
    angles = [coordinates.to_internal(torch.from_numpy(x))[2][:, index] for x in data.train]
    everything = torch.cat(angles)
    length = torch.hypot(everything.cos().mean(0), everything.sin().mean(0)).clamp(1e-6, 1.0)
    soft = torch.rad2deg(torch.sqrt(-2 * torch.log(length))) > spread
    return [torch.cat([a[:, soft].cos(), a[:, soft].sin()], dim=1).numpy() for a in angles] if soft.any() else []
