"""Rounds of hybrid sampling: choose starts, simulate bursts, review the statistics, refine the surrogate."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from latentmd.analysis.msm import connected_states
from latentmd.arrays import Floats
from latentmd.sampling.contracts import Engine, Explorer, LoadExplorer
from latentmd.sampling.hybrid.cells import Cells, fit_cells
from latentmd.sampling.hybrid.convergence import Review, review
from latentmd.sampling.hybrid.dataset import Dataset, StateFunctions
from latentmd.sampling.hybrid.planning import Planner, RoundPlan, given_plan
from latentmd.sampling.hybrid.records import summary, weight_arrays
from latentmd.sampling.hybrid.reweighting import connected_share, count_transitions
from latentmd.sampling.hybrid.settings import RoundSettings
from latentmd.sampling.hybrid.store import BurstTrajectories, Store, StoreError, read_arrays
from latentmd.sampling.hybrid.tasks import REFINE, REVIEW, BurstWork, keyed_rng, keyed_seed, simulate_missing
from latentmd.sampling.scheduler import Scheduler, Serial

Status = Literal["converged", "budget", "stopped"]

_HELD_OUT = 5  # every fifth burst measures the error of a refined surrogate and does not train it
_MORE = 8  # retrain only after the number of bursts has grown eightfold since the last training
_COARSER = 3  # number of partitions tried, each with half as many cells as the one before
_FEWEST_CELLS = 4  # of a partition that may stand in for a finer one
_PATIENCE = 3  # rounds in a row without a single good burst that end a run


class HybridError(RuntimeError):
    """A run that cannot go on; the message says why."""


@dataclass(frozen=True)
class RoundProgress:
    """Progress of a run, for a display.

    Attributes:
        round: number of the last complete round.
        bursts: good bursts so far.
        simulated: ps.
        wall: seconds, over all sessions.
        decisions: verdicts of the trust gate so far, "accepted" among them.
        discarded: bursts discarded so far, by reason.
        review: the latest one; None before the first.
        refined: how often the surrogate was refined.
    """

    round: int
    bursts: int
    simulated: float
    wall: float
    decisions: dict[str, int]
    discarded: dict[str, int]
    review: Review | None
    refined: int


@dataclass(frozen=True)
class Outcome:
    """Outcome of a run.

    Attributes:
        status: "converged", "budget" (time or wall ended first) or "stopped" (asked to; resume goes on).
        progress: at the end.
        weights: file with the equilibrium weight of every frame; None where there was no review yet.
    """

    status: Status
    progress: RoundProgress
    weights: Path | None


class Hybrid:
    """A hybrid run in a folder; made again with the same arguments, it goes on where the folder ends.

    The continued run equals the uninterrupted one bit for bit on the same machine: nothing is kept in memory that does
    not follow from the folder, and random numbers are keyed by seed, round and task.

    Args:
        engine: unbiased dynamics.
        explorer: the surrogate to begin with.
        load: makes a refined explorer again from the folder it was saved in.
        start: structures to begin with, shape (m, ...), relaxed; from all basins known so far.
        states: name → function from positions (n, ...) to booleans (n,), states that do not overlap. A run with named
            states is not converged before each of them was reached. None: metastable sets of cells, and then nothing
            can tell of a basin that was never found.
        settings: of the run.
        folder: where everything is kept.
        scheduler: runs relaxations and bursts.
        watch: called after every round.

    Raises:
        StoreError: the folder holds a run with other settings, or cannot be written.
    """

    def __init__(
        self,
        engine: Engine,
        explorer: Explorer,
        *,
        load: LoadExplorer,
        start: Floats,
        settings: RoundSettings,
        folder: str | Path,
        states: StateFunctions | None = None,
        scheduler: Scheduler | None = None,
        watch: Callable[[RoundProgress], None] | None = None,
    ) -> None:
        self.engine, self.settings, self.load = engine, settings, load
        self.scheduler: Scheduler = scheduler or Serial()
        self.watch = watch
        self.store = Store(folder, {**settings.identity(), "states": sorted(states) if states is not None else None})
        self.start = self._keep_start(np.asarray(start))
        self.rounds = self.store.complete_rounds()
        self.dataset = Dataset(self.store, engine, self._last_explorer(explorer), states, settings.relaxation)
        self.cells: Cells | None = None
        self.review: Review | None = None
        self._restore()

    def run(self, stop: Callable[[], bool] = lambda: False) -> Outcome:
        """Go on until the statistics converge, a budget ends, or `stop` says so between two bursts.

        Raises:
            HybridError: the simulations fail whatever they start from.
            StoreError: the disk is full; all files written before are readable.
        """
        began, before = time.monotonic(), self._last("wall", 0.0)
        while True:
            status = self._status()
            if status is not None:
                return self._outcome(status)
            number = len(self.rounds)
            plan = self._plan(number)
            if not self._simulate(number, plan, stop):
                return self._outcome("stopped")
            self._complete(number, plan, before + time.monotonic() - began)
            if self.watch is not None:
                self.watch(self.progress())

    def progress(self) -> RoundProgress:
        """Progress of the run so far."""
        decisions: Counter[str] = Counter()
        for round_ in self.rounds:
            decisions.update(round_["decisions"])
        return RoundProgress(
            round=len(self.rounds) - 1,
            bursts=len(self.dataset),
            simulated=self._last("simulated", 0.0),
            wall=self._last("wall", 0.0),
            decisions=dict(decisions),
            discarded=dict(self.dataset.discarded),
            review=self.review,
            refined=sum(round_["refined"] for round_ in self.rounds),
        )

    def _keep_start(self, start: Floats) -> Floats:
        path = self.store.folder / "start.npz"
        if not path.exists():
            self.store.write_arrays(path, positions=start)
        stored = read_arrays(path)["positions"]
        if not np.array_equal(stored, start):
            raise StoreError(
                f"{self.store.folder} holds a run that starts from other structures; resume with those, or choose "
                "another folder"
            )
        return stored

    def _last_explorer(self, explorer: Explorer) -> Explorer:
        refined = [i for i, round_ in enumerate(self.rounds) if round_["refined"]]
        return self.load(self.store.round(refined[-1]) / "explorer") if refined else explorer

    def _restore(self) -> None:
        """Take in the complete rounds of the folder."""
        for number in range(len(self.rounds)):
            plan = self._plan(number)
            for task in range(len(plan.starts)):
                self._take(number, task, plan)
        reviewed = [i for i, round_ in enumerate(self.rounds) if round_["review"] is not None]
        if reviewed:
            self.cells = self.store.read_cells(reviewed[-1])
            self.review = self._review(reviewed[-1], self.rounds[reviewed[-1]]["bursts"])

    def _take(self, number: int, task: int, plan: RoundPlan) -> None:
        burst = self.store.read_burst(number, task)
        if burst is None:
            raise StoreError(f"{self.store.round(number)}: burst {task} is missing; delete this round and later ones")
        self.dataset.add((number, task), plan.origins[task], burst)

    def _last(self, name: str, default: Any) -> Any:
        return self.rounds[-1][name] if self.rounds else default

    def _status(self) -> Status | None:
        """How the run ends, or None while it goes on."""
        reviews = [round_["review"] for round_ in self.rounds if round_["review"] is not None]
        agreeing = reviews[-self.settings.agreement :]
        if len(agreeing) == self.settings.agreement and not any(r["missing"] for r in agreeing):
            return "converged"
        for name, limit in (("simulated", self.settings.time), ("wall", self.settings.wall)):
            if limit is not None and self._last(name, 0.0) >= limit:
                return "budget"
        recent = self.rounds[-_PATIENCE:]
        if len(recent) == _PATIENCE and not any(round_["good"] for round_ in recent):
            reasons = ", ".join(f"{reason} ({n} times)" for reason, n in self.dataset.discarded.most_common(3))
            raise HybridError(
                f"no burst of the last {_PATIENCE} rounds could be used: {reasons}; check the starting structures and "
                "the time step"
            )
        return None

    def _plan(self, number: int) -> RoundPlan:
        """The plan of a round: as stored, or made now."""
        path = self.store.round(number) / "plan.npz"
        if not path.exists():
            if self.cells is None:
                plan = given_plan(self.start, self.settings.starts)
            else:
                plan = Planner(self.dataset, self.cells, self.settings, self.scheduler).plan(number)
            names = np.array(list(plan.decisions), dtype=str)
            counts = np.array(list(plan.decisions.values()), dtype=np.int64)
            origins = np.array(plan.origins)
            self.store.write_arrays(path, starts=plan.starts, origins=origins, decisions=names, counts=counts)
        stored = read_arrays(path)
        decisions = zip(stored["decisions"].tolist(), stored["counts"].tolist(), strict=True)
        return RoundPlan(stored["starts"], tuple(stored["origins"].tolist()), dict(decisions))

    def _simulate(self, number: int, plan: RoundPlan, stop: Callable[[], bool]) -> bool:
        """Simulate what the round still lacks; False where it was stopped first."""
        work = BurstWork(self.engine, plan.starts, self.settings.frames, self.settings.seed, number)
        return simulate_missing(work, self.store, self.scheduler, stop)

    def _complete(self, number: int, plan: RoundPlan, wall: float) -> None:
        """Take in a simulated round, review where enough is new, and mark the round as complete."""
        before = len(self.dataset)
        for task in range(len(plan.starts)):
            self._take(number, task, plan)
        refined, reference = False, self._last("reference", None)
        review_due = len(self.dataset) >= self.settings.growth * max(self._reviewed(), 1) and len(self.dataset) >= 2
        if review_due:
            refined, reference = self._refine(number, reference)
            self.cells = self._fit_cells(number)
            self.review = self._review(number, len(self.dataset))
        record = {
            "plan": list(plan.origins),
            "decisions": plan.decisions,
            "good": len(self.dataset) - before,
            "bursts": len(self.dataset),
            "simulated": self._last("simulated", 0.0) + len(plan.starts) * self.settings.frames * self.engine.interval,
            "refined": refined,
            "reference": reference,
            "review": summary(self.review) if review_due and self.review is not None else None,
            "wall": wall,
        }
        if review_due:
            self._write_weights(len(self.dataset))
        self.store.write_json(self.store.round(number) / "round.json", record)
        self.rounds.append(record)

    def _reviewed(self) -> int:
        """Number of bursts at the last review."""
        return int(next((r["bursts"] for r in reversed(self.rounds) if r["review"] is not None), 0))

    def _refine(self, number: int, reference: float | None) -> tuple[bool, float | None]:
        """Refine the surrogate where its error on new bursts has risen: whether it was, and its error since then."""
        if self.settings.refine is None:
            return False, None
        trained = next((r["bursts"] for r in reversed(self.rounds) if r["refined"]), self.settings.starts)
        if reference is not None and len(self.dataset) < _MORE * trained:
            return False, reference
        error = self.dataset.explorer.error(self.dataset.trajectories(first=self._reviewed()))
        if reference is None or error <= self.settings.refine * reference:
            return False, error if reference is None else reference
        everything = self.dataset.trajectories()
        held = everything[_HELD_OUT - 1 :: _HELD_OUT]
        train = BurstTrajectories(
            self.store, [key for i, key in enumerate(everything.bursts) if i % _HELD_OUT != _HELD_OUT - 1],
            self.settings.relaxation,
        )  # fmt: skip
        explorer = self.dataset.explorer.refine(train, keyed_seed(self.settings.seed, number, REFINE))
        if explorer is self.dataset.explorer:
            return False, reference
        folder = self.store.write_explorer(number, explorer)
        # What was saved is what is used, so that a resumed run, which loads it, goes on alike.
        self.dataset.use(self.load(folder))
        return True, self.dataset.explorer.error(held)

    def _fit_cells(self, number: int) -> Cells:
        rng = keyed_rng(self.settings.seed, number, REVIEW, 1)
        features = [f[self.settings.relaxation :] for f in self.dataset.features()]
        lag = max(self.settings.lag, (self.settings.frames - self.settings.relaxation) // 2)
        latent = self.dataset.latent[0].shape[1]
        cells = self._connecting(
            fit_cells(features, latent, self.settings.cells, slow_lag=lag, lag=self.settings.lag, rng=rng)
        )
        self.store.write_cells(number, cells)
        return cells

    def _connecting(self, cells: Cells) -> Cells:
        """The finest of a few partitions that connects the bursts, or the finest where none does.

        A coarser one makes climbs too easy; how much it moves with still coarser cells is part of the standard errors.
        """
        partition = cells
        for _ in range(_COARSER):
            if len(partition) < _FEWEST_CELLS:
                break
            paths = self.dataset.assigned(partition, len(self.dataset))
            counts = count_transitions(paths, len(partition), self.settings.lag, self.settings.relaxation)
            if connected_share(paths, connected_states(counts.matrix())) >= self.settings.criteria.connected:
                return partition
            partition = partition.coarser()
        return cells

    def _review(self, number: int, bursts: int) -> Review:
        """Statistics of the first `bursts` bursts, reviewed after round `number`."""
        assert self.cells is not None
        settings = self.settings
        earlier = [r["bursts"] for r in self.rounds[:number] if r["review"] is not None]
        fresh = bursts - (earlier[-1] if earlier else 0)
        data = self.dataset.bursts(self.cells, settings.lag, bursts)
        rng = keyed_rng(settings.seed, number, REVIEW)
        other = self.dataset.assigned(self.cells.coarser(), bursts)
        return review(
            data, settings.lag, settings.relaxation, criteria=settings.criteria, fresh=fresh, rng=rng, other=other
        )

    def _write_weights(self, bursts: int) -> Path:
        assert self.cells is not None and self.review is not None
        path = self.store.folder / "weights.npz"
        data = self.dataset.bursts(self.cells, self.settings.lag, bursts)
        keys, origins = self.dataset.keys[:bursts], self.dataset.origins[:bursts]
        populations = self.review.estimates.cells
        self.store.write_arrays(path, **weight_arrays(data, keys, origins, populations, self.settings.relaxation))
        return path

    def _outcome(self, status: Status) -> Outcome:
        """Outcome of a run that ends here; new bursts are reviewed first, unless the run was asked to stop."""
        if self.cells is None:
            return Outcome(status, self.progress(), None)
        if status == "budget" and len(self.dataset) > self._reviewed():
            self.review = self._review(len(self.rounds), len(self.dataset))
            self._write_weights(len(self.dataset))
        return Outcome(status, self.progress(), self.store.folder / "weights.npz")
