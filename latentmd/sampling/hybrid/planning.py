"""Choose the cells where the next bursts start: least visited, unconnected, or dominating the error."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.sampling.contracts import Engine, Explorer, Relaxed
from latentmd.sampling.hybrid.allocation import variance_reduction
from latentmd.sampling.hybrid.cells import Cells
from latentmd.sampling.hybrid.dataset import Dataset
from latentmd.sampling.hybrid.gate import ACCEPTED, Gate, calibrate
from latentmd.sampling.hybrid.reweighting import connected_share, count_transitions, fit, state_shares, state_visits
from latentmd.sampling.hybrid.settings import RoundSettings
from latentmd.sampling.hybrid.tasks import PLAN, RELAX, keyed_rng, keyed_seed, relax_all
from latentmd.sampling.scheduler import Scheduler

SURROGATE = "surrogate"  # origin of a burst that starts from an accepted proposal
GIVEN = "given"  # from a structure that the user gave
NO_PROPOSAL = "no proposal"
MOVED = "relaxed away"  # into a cell visited more often than the one that plain MD would start from

_NOVEL = 4  # every fourth start goes to the accepted proposal furthest from real frames, whatever its cell


@dataclass(frozen=True)
class RoundPlan:
    """Starts of a round.

    Attributes:
        starts: structures, shape (starts, ...).
        origins: of each start: "given", "surrogate", or "md: " and why plain MD goes on from a real frame.
        decisions: how often each verdict fell, "accepted" among them.
    """

    starts: Floats
    origins: tuple[str, ...]
    decisions: dict[str, int]


def given_plan(structures: Floats, count: int) -> RoundPlan:
    """Starts at given structures (m, ...), taken in turn."""
    return RoundPlan(structures[np.arange(count) % len(structures)], (GIVEN,) * count, {})


def draw_cells_by_visits(visits: Ints, count: int, rng: np.random.Generator) -> Ints:
    """Cells to start from, without repeats while there are enough, drawn with probabilities proportional to 1 / visits.

    The exponential race (Efraimidis and Spirakis 2006) draws them one after another; a cell never visited is left out,
    since no real frame is in it.

    Args:
        visits: frames in each cell, shape (cells,).
        count: how many.
        rng: random generator.
    """
    visited = np.flatnonzero(visits)
    order = visited[np.argsort(rng.exponential(size=len(visited)) * visits[visited])]
    return np.resize(order, count)


def draw_cells_by_gain(gains: Floats, count: int, rng: np.random.Generator) -> Ints:
    """Cells to start from, drawn in proportion to how much a burst there lowers the variances; cells may repeat.

    Args:
        gains: of each cell, not all zero, shape (cells,).
        count: how many.
        rng: random generator.
    """
    return np.asarray(rng.choice(len(gains), size=count, p=gains / gains.sum()))


def unconnected_cells(counts: Floats, visits: Ints, active: Ints) -> Bools:
    """Cells that no path leads to and back, and connected ones that bursts came to from there, shape (cells,).

    Args:
        counts: transitions, shape (cells, cells).
        visits: frames in each cell, shape (cells,).
        active: connected cells.
    """
    outside = visits > 0
    outside[active] = False
    return np.asarray(outside | (counts[outside].sum(axis=0) > 0))


class Planner:
    """Chooses, gates and relaxes the starts of a round.

    Args:
        dataset: bursts so far, with the explorer in use.
        cells: in use.
        settings: of the run.
        scheduler: runs the relaxations.
    """

    def __init__(self, dataset: Dataset, cells: Cells, settings: RoundSettings, scheduler: Scheduler) -> None:
        self.dataset, self.cells, self.settings, self.scheduler = dataset, cells, settings, scheduler
        self.engine: Engine = dataset.engine
        self.explorer: Explorer = dataset.explorer

    def plan(self, round_: int) -> RoundPlan:
        """Starts of a round."""
        rng = keyed_rng(self.settings.seed, round_, PLAN)
        flat = np.concatenate(self.dataset.paths(self.cells))
        visits = np.bincount(flat, minlength=len(self.cells))
        targets = self._targets(visits, rng)
        frames = [int(rng.choice(np.flatnonzero(flat == cell))) for cell in targets]
        starts = [self._real_frame(frame) for frame in frames]
        has_axes = self.dataset.latent[0].shape[1] > 0  # an explorer without any has nothing to propose either
        offered = round(self.settings.proposals * len(starts)) if has_axes else 0
        origins = ["md: plain"] * len(starts)
        decisions: Counter[str] = Counter()
        if offered:
            gate = self._gate(rng)
            proposals = self._propose(np.array(starts), targets[:offered], gate, rng)
            for i, result in enumerate(self._relax(proposals, gate, round_)):
                if not isinstance(result, str) and visits[self._cell(result)] > visits[targets[i]]:
                    result = MOVED
                if isinstance(result, str):
                    origins[i] = f"md: {result}"
                else:
                    starts[i], origins[i] = result.positions, SURROGATE
                decisions[result if isinstance(result, str) else "accepted"] += 1
        return RoundPlan(np.array(starts), tuple(origins), dict(sorted(decisions.items())))

    def _targets(self, visits: Ints, rng: np.random.Generator) -> Ints:
        """Cells to start from: some to explore, the others where a burst lowers the standard errors most."""
        count, precise = self.settings.starts, round(self.settings.precise * self.settings.starts)
        gains = self._gains(visits) if precise else np.zeros(len(visits))
        if not gains.any():  # there are not two states to compare
            precise = 0
        explored = draw_cells_by_visits(visits, count - precise, rng)
        directed = draw_cells_by_gain(gains, precise, rng) if precise else np.zeros(0, dtype=np.int64)
        return np.asarray(rng.permutation(np.append(explored, directed)))

    def _gains(self, visits: Ints) -> Floats:
        """How much a burst from each cell lowers the variances of the states' free energies, shape (cells,).

        While some bursts end where nothing is connected, paths between basins come before precision: cells that are not
        connected count then, and those where bursts from there arrive, the less they were visited the more.
        """
        cells, lag, skip = len(self.cells), self.settings.lag, self.settings.relaxation
        paths = self.dataset.paths(self.cells)
        counts = count_transitions(paths, cells, lag, skip)
        model, matrix, gains = fit(counts), counts.matrix(), np.zeros(cells)
        if connected_share(paths, model.active) < self.settings.criteria.connected:
            gains[unconnected_cells(matrix, visits, model.active)] = 1.0
            return gains / np.maximum(visits, 1)
        bursts = self.dataset.bursts(self.cells, lag, len(self.dataset))
        shares = state_shares(state_visits(bursts.paths, bursts.inside, cells, skip), cells)
        lags = matrix[np.ix_(model.active, model.active)].sum(axis=1) / lag
        gains[model.active] = variance_reduction(
            model, lags, shares[model.active], (self.settings.frames - skip) // lag
        )
        return gains

    def _real_frame(self, number: int) -> Floats:
        """Configuration (...) of the data, by its index among the frames of all bursts."""
        ends = np.cumsum([len(e) for e in self.dataset.energies])
        burst = int(np.searchsorted(ends, number, side="right"))
        return self.dataset.frame(burst, number - int(ends[burst]))

    def _cell(self, relaxed: Relaxed) -> int:
        positions = relaxed.positions[None]
        joint = np.hstack([self.explorer.features(positions), self.engine.features(positions)])
        return int(self.cells.assign(joint)[0])

    def _gate(self, rng: np.random.Generator) -> Gate:
        return calibrate(self.dataset.latent, self.explorer.disagreement, self.dataset.energies, rng)

    def _propose(self, starts: Floats, targets: Ints, gate: Gate, rng: np.random.Generator) -> list[Floats | str]:
        """For each target a proposal that passes all checks without simulation, or the reason why there is none."""
        pool = np.asarray(self.explorer.propose(starts, len(targets) * self.settings.candidates, rng))
        pool = pool[np.isfinite(pool.reshape(len(pool), -1)).all(axis=1)].astype(starts.dtype)
        if not len(pool):
            return ["not finite"] * len(targets)
        latent = self.explorer.features(pool)
        verdicts = gate.screen(latent, self.explorer.disagreement(latent), self.engine.checks(pool))
        good = np.array([verdict == ACCEPTED for verdict in verdicts])
        cells = self.cells.assign(np.hstack([latent, self.engine.features(pool)]))
        novelty = np.where(good, gate.distances(latent), -np.inf)
        chosen: list[Floats | str] = []
        for number, target in enumerate(targets):
            if number % _NOVEL == _NOVEL - 1 and np.isfinite(novelty.max()):
                best = int(np.argmax(novelty))
                novelty[cells == cells[best]] = -np.inf  # the next one goes elsewhere
                chosen.append(pool[best])
                continue
            inside = np.flatnonzero(cells == target)
            passed = inside[good[inside]]
            if len(passed):
                chosen.append(pool[passed[0]])
            else:
                chosen.append(verdicts[inside[0]] if len(inside) else NO_PROPOSAL)
        return chosen

    def _relax(self, proposals: list[Floats | str], gate: Gate, round_: int) -> list[Relaxed | str]:
        """Relax proposals and apply the rest of the gate: relaxed structures, or the reasons why not."""
        rows = [i for i, proposal in enumerate(proposals) if not isinstance(proposal, str)]
        results: list[Relaxed | str] = [p if isinstance(p, str) else NO_PROPOSAL for p in proposals]
        starts = np.array([proposals[i] for i in rows])
        seeds = [keyed_seed(self.settings.seed, round_, RELAX, i) for i in rows]
        for i, result in zip(rows, relax_all(self.engine, starts, seeds, self.scheduler), strict=True):
            results[i] = result if isinstance(result, str) else self._judge(result, gate)
        return results

    def _judge(self, relaxed: Relaxed, gate: Gate) -> Relaxed | str:
        failed = [name for name, passed in self.engine.checks(relaxed.positions[None]).items() if not passed[0]]
        reason = failed[0] if failed else gate.energy(relaxed.energy)
        return relaxed if reason == ACCEPTED else reason
