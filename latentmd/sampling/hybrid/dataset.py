"""Bursts of a run so far: features, energies, cells and states, for the statistics and the choice of starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

import numpy as np

from latentmd.analysis.msm import metastable_sets
from latentmd.arrays import Bools, Floats, Ints
from latentmd.sampling.contracts import Burst, Engine, Explorer
from latentmd.sampling.hybrid.cells import Cells
from latentmd.sampling.hybrid.estimates import Bursts
from latentmd.sampling.hybrid.reweighting import count_transitions, fit
from latentmd.sampling.hybrid.store import BurstTrajectories, Store

StateFunctions = Mapping[str, Callable[[Floats], Bools]]

_METASTABLE = 5  # most metastable sets where the user names no states


class Dataset:
    """Features, energies and states of every burst; positions stay on disk.

    Args:
        store: of the run.
        engine, explorer: give the features.
        states: name → function from positions (n, ...) to booleans (n,); None to use metastable sets of cells.
        skip: relaxation time, frames.
    """

    def __init__(
        self, store: Store, engine: Engine, explorer: Explorer, states: StateFunctions | None, skip: int
    ) -> None:
        self.store, self.engine, self.explorer, self.states, self.skip = store, engine, explorer, states, skip
        self.keys: list[tuple[int, int]] = []
        self.origins: list[str] = []
        self.energies: list[Floats] = []
        self.physical: list[Floats] = []
        self.latent: list[Floats] = []
        self.inside: list[Bools] = []
        self.discarded: Counter[str] = Counter()
        self._cells: Cells | None = None
        self._paths: list[Ints] = []

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def frames(self) -> int:
        """Frames of all bursts, relaxation included."""
        return sum(len(e) for e in self.energies)

    def add(self, key: tuple[int, int], origin: str, burst: Burst | str) -> None:
        """Take in a burst, or count why it was discarded.

        Args:
            key: (round, task) of the burst.
            origin: "given", "surrogate", or "md: " and the reason.
            burst: or the reason why it was discarded.
        """
        if isinstance(burst, str):
            self.discarded[burst] += 1
            return
        self.keys.append(key)
        self.origins.append(origin)
        self.energies.append(burst.energies)
        self.physical.append(self.engine.features(burst.positions))
        self.latent.append(self.explorer.features(burst.positions))
        if self.states is not None:
            columns = [np.asarray(function(burst.positions), dtype=bool) for function in self.states.values()]
            self.inside.append(np.column_stack(columns))

    def use(self, explorer: Explorer) -> None:
        """Encode everything with another explorer."""
        self.explorer, self._cells = explorer, None
        self.latent = [explorer.features(positions) for positions in self.trajectories(skip=0)]

    def trajectories(self, first: int = 0, skip: int | None = None) -> BurstTrajectories:
        """Positions of the bursts from number `first` on, without their relaxation time."""
        return BurstTrajectories(self.store, self.keys[first:], self.skip if skip is None else skip)

    def features(self, first: int = 0) -> list[Floats]:
        """Latent and physical features side by side, (frames, features) per burst, from number `first` on."""
        return [np.hstack(pair) for pair in zip(self.latent[first:], self.physical[first:], strict=True)]

    def paths(self, cells: Cells) -> list[Ints]:
        """Cell of each frame of each burst; remembered while the cells are the same object."""
        if self._cells is not cells:
            self._cells, self._paths = cells, []
        new = self.features(len(self._paths))
        if new:
            flat = cells.assign(np.concatenate(new))
            self._paths += np.split(flat, np.cumsum([len(f) for f in new])[:-1])
        return self._paths

    def assigned(self, cells: Cells, number: int) -> list[Ints]:
        """Cell of each frame of the first bursts, nothing remembered."""
        features = self.features()[:number]
        flat = cells.assign(np.concatenate(features))
        return np.split(flat, np.cumsum([len(f) for f in features])[:-1])

    def bursts(self, cells: Cells, lag: int, number: int) -> Bursts:
        """The first bursts discretised; without named states, metastable sets (PCCA+) stand in, largest first.

        Args:
            cells: partition.
            lag: of the Markov model that the sets are made of, frames.
            number: of bursts.
        """
        paths = self.paths(cells)[:number]
        if self.states is not None:
            return Bursts(paths, self.inside[:number], tuple(self.states), len(cells), self.engine.interval)
        model = fit(count_transitions(paths, len(cells), lag, self.skip))
        sets = np.full(len(cells), -1)  # cells that are not connected join none
        sets[model.active] = metastable_sets(model, _METASTABLE)
        names = tuple(f"set {i + 1}" for i in range(int(sets.max()) + 1))
        inside = [sets[path][:, None] == np.arange(len(names)) for path in paths]
        return Bursts(paths, inside, names, len(cells), self.engine.interval)

    def frame(self, index: int, frame: int) -> Floats:
        """One real configuration (...), of burst number `index`."""
        return np.asarray(self.trajectories(skip=0)[index][frame])
