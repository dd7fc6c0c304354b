"""Preparation of the rounds of a hybrid run: starting structures, first bursts, first model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.atomic import write_text
from latentmd.sampling.clock import SessionClock, Spent
from latentmd.sampling.errors import Stopped
from latentmd.sampling.hybrid import bootstrap
from latentmd.sampling.hybrid.ensemble import ENSEMBLE
from latentmd.sampling.hybrid.explorer import PlainAdaptive, SurrogateExplorer
from latentmd.sampling.hybrid.folder import NO_MODEL, HybridFolder
from latentmd.sampling.hybrid.store import MODEL, Store
from latentmd.sampling.hybrid.tasks import BurstWork, simulate_missing
from latentmd.sampling.hybrid.training import recipe_of

if TYPE_CHECKING:
    from latentmd.sampling.contracts import Burst, Explorer
    from latentmd.sampling.hybrid.settings import RoundSettings
    from latentmd.sampling.request import HybridRun
    from latentmd.sampling.scheduler import Scheduler


@dataclass(frozen=True)
class Ready:
    """Settings, surrogate and structures that the rounds of a hybrid run begin with.

    Attributes:
        core: settings of the rounds.
        explorer: the surrogate, or none.
        starts: relaxed structures in nm, shape (structures, atoms, 3).
        spent: what it cost to get here.
    """

    core: RoundSettings
    explorer: Explorer
    starts: Floats
    spent: Spent


def clock_of(run: HybridRun) -> SessionClock:
    """Clock of the preparation, kept in the folder of the run."""
    return SessionClock(run.folder / "bootstrap" / "seconds.json")


def core_settings(run: HybridRun, time: float) -> RoundSettings:
    """Settings of the rounds, in frames.

    Args:
        run: the request.
        time: what is left of the budget of simulated time, ps.
    """
    from latentmd.sampling.hybrid.convergence import Criteria
    from latentmd.sampling.hybrid.settings import RoundSettings

    s = run.settings
    frames = [round(t / s.interval) for t in (s.relaxation, s.lag, s.burst)]
    return RoundSettings(
        seed=run.seed, starts=s.starts, relaxation=frames[0], lag=frames[1], frames=frames[2], cells=s.cells,
        proposals=s.proposals if s.surrogate else 0.0, precise=s.precise, refine=1.5 if s.surrogate else None,
        time=max(time, 1.0), criteria=Criteria(precision=s.precision),
    )  # fmt: skip


def prepare_rounds(run: HybridRun, tasks: Scheduler, time: float) -> Ready:
    """Find starting structures, simulate the bursts of round 0 and train a model on them, or load the given model.

    The bursts of round 0 are those that the rounds would make of these starts, so they count in the statistics.

    Args:
        run: the request and the engine.
        tasks: runs the simulations.
        time: budget of simulated time, ps.

    Raises:
        BootstrapError: the molecule cannot be simulated.
        Stopped: the run was asked to stop.
    """
    (run.folder / "bootstrap").mkdir(exist_ok=True)
    timer = clock_of(run)
    given = SurrogateExplorer(run.model, recipe_of(run), run.device) if run.model else None
    run.report("looking for basins")
    with timer.phase("starts"):
        make = partial(_starting_structures, run, given, tasks)
        starts = HybridFolder(run.folder).made_once("bootstrap/starts.npz", make)["positions"]
    hot_time = bootstrap.HOT_WALKERS * bootstrap.HOT_TIME if given is None and run.settings.hot else 0.0
    core = core_settings(run, time - hot_time)
    explorer: Explorer = given if given is not None else PlainAdaptive()
    if given is None and run.settings.surrogate:
        explorer = _first_model(run, core, starts, tasks, timer)
    return Ready(core, explorer, starts, Spent(hot_time, timer.seconds))


def _starting_structures(run: HybridRun, given: SurrogateExplorer | None, tasks: Scheduler) -> dict[str, Floats]:
    """Relaxed structures far from each other: of the given model, of hot walkers, or only the minimised structure."""
    s = run.settings
    if given is not None:
        frames = bootstrap.model_frames(given, run.reference, s.starts, run.seed)
    elif s.hot:
        found = bootstrap.hot_frames(run, Store(run.folder / "bootstrap" / "hot", {"seed": run.seed}), tasks)
        if found is None:
            raise Stopped(run.folder)
        frames = found
    else:
        return {"positions": run.reference[None].astype(np.float32)}
    run.report("relaxing starts")
    return {"positions": bootstrap.spread_starts(run, frames, tasks)}


def first_bursts(run: HybridRun, core: RoundSettings, starts: Floats, tasks: Scheduler) -> list[Burst]:
    """The good bursts of round 0, simulated where they are not there yet.

    Args:
        run: the request and the engine.
        core: settings of the rounds.
        starts: structures (structures, atoms, 3) in nm, taken in turn.
        tasks: runs the simulations.

    Raises:
        BootstrapError: fewer than two are good.
        Stopped: the run was asked to stop.
    """
    # Same settings as `Hybrid` passes, so that its Store accepts these bursts as round 0.
    store = Store(run.folder / "run", {**core.identity(), "states": None})
    work = BurstWork(run.engine, starts[np.arange(core.starts) % len(starts)], core.frames, run.seed, round_=0)
    if not simulate_missing(work, store, tasks, run.stop):
        raise Stopped(run.folder)
    return bootstrap.good_bursts(store, 0, core.starts)


def _first_model(
    run: HybridRun, core: RoundSettings, starts: Floats, tasks: Scheduler, timer: SessionClock
) -> Explorer:
    """Simulate round 0 and train on it; where no model can be trained, sampling goes on without one.

    Where the bursts start decides how precise the statistics are, not whether they are right.
    """
    folder, failure = run.folder / "bootstrap" / "model", run.folder / NO_MODEL
    if not (folder / ENSEMBLE).exists() and not failure.exists():
        run.report("first simulations")
        with timer.phase("round 0"):
            bursts = first_bursts(run, core, starts, tasks)
        folder.mkdir(exist_ok=True)
        with timer.phase("training"):
            _train([burst.positions[core.relaxation :] for burst in bursts], run, folder)
        if run.stop():
            raise Stopped(run.folder)
    if failure.exists():
        run.report("no surrogate could be trained; going on without")
        return PlainAdaptive()
    return SurrogateExplorer(folder / MODEL, recipe_of(run), run.device)


def _train(trajectories: Sequence[Floats], run: HybridRun, folder: Path) -> None:
    """Train a bundle into a folder, or write down why that failed."""
    from latentmd.sampling.hybrid.training import train_bundle
    from latentmd.training.loop import TrainingError

    def report(stage: str, *amounts: Any) -> None:
        run.report(f"training: {stage}", *amounts)
        if run.stop():
            raise KeyboardInterrupt  # the training goes on from its last checkpoint

    try:
        train_bundle(trajectories, recipe_of(run), folder, seed=run.seed, resume=True, report=report)
    except TrainingError as error:
        write_text(run.folder / NO_MODEL, f"{error}\n")
