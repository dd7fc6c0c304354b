"""Training trajectories, from files or from memory: checked, strided and split by trajectory."""

from __future__ import annotations

import hashlib
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import mdtraj
import numpy as np
from numpy.typing import NDArray

from latentmd.io.pdb import pdb_text
from latentmd.io.solute import read_solute, solute_positions
from latentmd.io.trajectory import load_topology
from latentmd.model.manifest import molecule_of
from latentmd.molecule.matching import HydrogenHands
from latentmd.training.config import TrainingConfig

logger = logging.getLogger(__name__)

_FEWEST_FRAMES = 100
_MOST_ATOMS = 1500  # some 90 residues; nobody has trained a model of more
_REPEATED = 0.01  # share of a run's frames that may have been seen before, as where a run goes on from another's last
STATISTICS_FRAMES = 50_000  # enough for means and spreads of internal coordinates
_TOGETHER = 4_000_000  # atoms whose internal coordinates are computed at once: half a gibibyte


@dataclass(frozen=True)
class Trajectories:
    """Trajectories of one molecule in memory.

    Attributes:
        positions: one array (frames, atoms, 3) in nm per trajectory.
        interval: ps between frames.
        names: what the manifest calls them; numbered where there are none.
    """

    positions: Sequence[NDArray[np.floating]]
    interval: float
    names: Sequence[str] = ()

    def __len__(self) -> int:
        return len(self.positions)

    def labels(self) -> list[str]:
        """Name of each trajectory."""
        return list(self.names) or [f"trajectory-{i:04d}" for i in range(len(self))]

    def digest(self) -> str:
        """SHA-256 of all positions as float32, so that a resumed training can tell that they are the same."""
        found = hashlib.sha256()
        for positions in self.positions:
            found.update(np.ascontiguousarray(positions, dtype=np.float32).tobytes())
        return found.hexdigest()

    def checked(self, atoms: int) -> list[NDArray[np.float32]]:
        """The positions as float32; ValueError for other atoms, no interval, or what is not finite."""
        if not self.interval > 0:
            raise ValueError(f"frames are {self.interval:g} ps apart; expected a positive interval")
        for name, positions in zip(self.labels(), self.positions, strict=True):
            if positions.ndim != 3 or positions.shape[1:] != (atoms, 3):
                raise ValueError(f"{name} has the shape {positions.shape}; expected (frames, {atoms}, 3) in nm")
            if not np.isfinite(positions).all():
                raise ValueError(f"{name} holds positions that are not finite; cut it before the first of them")
        return [np.asarray(positions, dtype=np.float32) for positions in self.positions]


@dataclass(frozen=True)
class Data:
    """Trajectories as the stages use them.

    Attributes:
        train, validation: positions (frames, atoms, 3) in nm of each trajectory, held-out ones in the second.
        names: of the trajectories, under "train" and "validation".
        topology: mdtraj topology.
        pdb: the molecule as the text of a PDB file.
    """

    train: list[NDArray[np.float32]]
    validation: list[NDArray[np.float32]]
    names: dict[str, list[str]]
    topology: mdtraj.Topology
    pdb: str


@dataclass(frozen=True)
class Source:
    """Trajectories of one molecule, read and not yet strided, and where they come from.

    Attributes:
        runs: positions (frames, atoms, 3) in nm.
        interval: ps between frames.
        names: of the runs.
        topology: mdtraj topology of the molecule.
        pdb: the molecule as the text of a PDB file.
        left_out: what else the files hold, such as "500 HOH"; empty where the molecule is alone.
        water: whether that is water.
    """

    runs: list[NDArray[np.float32]]
    interval: float
    names: list[str]
    topology: mdtraj.Topology
    pdb: str
    left_out: str = ""
    water: bool = False


def read_source(
    trajectories: Sequence[str | Path] | Trajectories, top: str | Path, interval: float | None, select: str = ""
) -> Source:
    """The molecule of trajectories, without the water and ions around it; arguments as of `train`.

    Raises:
        TrajectoryError: a file that is missing, damaged, of other atoms or without times, or no single molecule.
    """
    if isinstance(trajectories, Trajectories):
        topology = load_topology(top)
        text = Path(top).read_text(encoding="utf-8")
        runs = trajectories.checked(topology.n_atoms)
        refuse_repeats(runs, trajectories.labels())
        return _alike(Source(runs, trajectories.interval, trajectories.labels(), topology, text))
    topology, solute = read_solute(top, trajectories, select)
    if solute.topology.n_atoms > _MOST_ATOMS:
        raise ValueError(
            f"the solute has {solute.topology.n_atoms:,} atoms; models are for up to {_MOST_ATOMS:,}: choose a part of"
            " it with --select"
        )
    runs, spacing = solute_positions(trajectories, topology, solute, interval)
    whole = not solute.left_out and Path(top).suffix.lower() in (".pdb", ".ent")
    whole = whole and load_topology(top).n_bonds == solute.topology.n_bonds  # none was told from distances
    text = Path(top).read_text(encoding="utf-8") if whole else pdb_text(solute.topology.to_openmm(), runs[0][0])
    names = [Path(path).name for path in trajectories]
    refuse_repeats(runs, list(map(str, trajectories)))
    return _alike(Source(runs, spacing, names, solute.topology, text, left_out=solute.left_out, water=solute.water))


def _alike(source: Source) -> Source:
    """Runs with the hydrogens of each CH2, CH3 and NH3 in the order of the model's PDB: programs number them freely.

    Between both orders there is no structure, so that a network that has to learn both decodes what lies between.
    """
    hands = HydrogenHands.of(*molecule_of(source.pdb))
    runs = [hands.arranged(run) for run in source.runs]
    if other := sum(own is not run for own, run in zip(runs, source.runs, strict=True)):
        logger.warning("hydrogens of one atom come in another order than in the topology: exchanged in %d runs", other)
    return replace(source, runs=runs)


def refuse_repeats(runs: Sequence[NDArray[np.float32]], names: Sequence[str]) -> None:
    """Refuse, with ValueError, a run that stood still, and one of whose frames another holds too."""
    first: dict[int, int] = {}
    for number, run in enumerate(runs):
        frames = [hash(frame.tobytes()) for frame in run]
        seen = Counter(first.setdefault(frame, number) for frame in frames)
        seen[number] = len(frames) - len(set(frames)) if number in seen else 0
        where, count = seen.most_common(1)[0]
        if count <= max(1, _REPEATED * len(run)):
            continue
        found = f"{count:,} of {len(run):,} frames of {names[number]} are"
        if where == number:
            raise ValueError(
                f"{found} the same as earlier ones: the run stood still, or was joined twice; write it without them"
            )
        raise ValueError(
            f"{found} in {names[where]} as well: give each run once, since it would be held out and trained on"
        )


def split_data(source: Source, config: TrainingConfig) -> Data:
    """Stride the trajectories; the last `holdout` of them validate.

    Raises:
        ValueError: too few trajectories for the split, or frames spaced wider than the configured stride.
    """
    positions, interval, names = source.runs, source.interval, source.names
    if len(positions) <= config.holdout:
        raise ValueError(
            f"{len(positions)} trajectories given and {config.holdout} held out; give at least {config.holdout + 1} "
            "independent runs, or set holdout = 0 in the file for --config to train without validation"
        )
    every = round(config.stride / interval)
    if every < 1 or abs(every * interval - config.stride) > 1e-6 * config.stride:
        raise ValueError(
            f"frames are {interval:g} ps apart and stride is {config.stride:g} ps; "
            f"set stride to a multiple of {interval:g}"
        )
    strided = [np.ascontiguousarray(p[::every]) for p in positions]
    split = len(strided) - config.holdout
    frames = sum(map(len, strided[:split]))
    if frames < _FEWEST_FRAMES:
        raise ValueError(
            f"{frames} frames to train on, {config.stride:g} ps apart; expected at least {_FEWEST_FRAMES}, and"
            " thousands for a model of any use"
        )
    held = {"train": names[:split], "validation": names[split:]}
    return Data(strided[:split], strided[split:], held, topology=source.topology, pdb=source.pdb)


def few(frames: int, atoms: int) -> int:
    """At most so many frames, and fewer of large molecules, so that memory does not grow with them."""
    return min(frames, max(1, _TOGETHER // atoms))
