"""What comes before the rounds of a hybrid run: starting structures, first bursts, first model."""

from __future__ import annotations

import json
import time as clock
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.outputs import write_atomically
from latentmd.sampling.hybrid import bootstrap
from latentmd.sampling.hybrid.ensemble import ENSEMBLE
from latentmd.sampling.hybrid.explorer import MODEL, PlainAdaptive, SurrogateExplorer
from latentmd.sampling.hybrid.folder import NO_MODEL, HybridFolder

if TYPE_CHECKING:
    from latentmd.sampling.contracts import Explorer, Scheduler
    from latentmd.sampling.hybrid.run import HybridRun
    from latentmd.sampling.hybrid.settings import Settings


@dataclass
class Spent:
    """What came before the rounds: simulated ps, and wall seconds of each part over all sessions."""

    simulated: float
    parts: dict[str, float]

    @property
    def wall(self) -> float:
        """Seconds in all."""
        return sum(self.parts.values())


class Clock:
    """Adds the wall time of parts to a file, so that a resumed run still knows it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, float] = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Time what happens inside and add it to a part."""
        begin, before = clock.monotonic(), self.parts.get(name, 0.0)
        try:
            yield
        finally:
            self.parts[name] = round(before + clock.monotonic() - begin, 2)
            write_atomically(self.path, json.dumps(self.parts, indent=1) + "\n")


def clock_of(run: HybridRun) -> Clock:
    """The clock of a run."""
    return Clock(run.folder / "bootstrap" / "seconds.json")


def core_settings(run: HybridRun, time: float) -> Settings:
    """Settings of the rounds; `time` is what is left of the budget, ps."""
    from latentmd.sampling.hybrid.convergence import Criteria
    from latentmd.sampling.hybrid.settings import Settings

    s = run.settings
    frames = [round(t / s.interval) for t in (s.relaxation, s.lag, s.burst)]
    return Settings(
        seed=run.seed, starts=s.starts, relaxation=frames[0], lag=frames[1], frames=frames[2], cells=s.cells,
        proposals=s.proposals if s.surrogate else 0.0, precise=s.precise, refine=1.5 if s.surrogate else None,
        time=max(time, 1.0), criteria=Criteria(precision=s.precision),
    )  # fmt: skip


def begin(run: HybridRun, tasks: Scheduler, time: float) -> tuple[Settings, Explorer, Floats, Spent]:
    """Starting structures, the bursts of round 0 and the model that was trained on them, or the given model.

    The bursts of round 0 are those that the rounds would make of these starts, so they count in the statistics.

    Raises:
        BootstrapError: the molecule cannot be simulated.
        Stopped: the run was asked to stop.
    """
    from latentmd.sampling.hybrid.run import Stopped
    from latentmd.sampling.hybrid.store import Store

    folder, s = HybridFolder(run.folder), run.settings
    (run.folder / "bootstrap").mkdir(exist_ok=True)
    timer = clock_of(run)
    given = SurrogateExplorer(run.model, run.recipe, run.device) if run.model else None
    hot_time = 0.0

    def spread() -> dict[str, Any]:
        frames: Floats | None = None
        if given is not None:
            frames = bootstrap.model_frames(given, run.reference, s.starts, run.seed)
        elif s.hot:
            hot = Store(run.folder / "bootstrap" / "hot", {"seed": run.seed})
            frames = bootstrap.hot_frames(run.engine, run.reference, hot, run.seed, tasks, run.stop)
            if frames is None:
                raise Stopped(run.folder)
        if frames is None:
            return {"positions": run.reference[None].astype(np.float32)}
        run.report("relaxing starts", 0.0, 1.0)
        return {"positions": bootstrap.spread_starts(run.engine, run.reference, frames, s.starts, run.seed, tasks)}

    run.report("looking for basins", 0.0, 1.0)
    with timer.part("starts"):
        start = folder.once("bootstrap/starts.npz", spread)["positions"]
    if given is None and s.hot:
        hot_time = bootstrap.HOT_WALKERS * bootstrap.HOT_TIME
    core = core_settings(run, time - hot_time)
    explorer: Explorer = given if given is not None else PlainAdaptive()
    if given is None and s.surrogate:
        explorer = _first_model(run, core, start, tasks, timer)
    return core, explorer, start, Spent(hot_time, timer.parts)


def _first_model(run: HybridRun, core: Settings, start: Floats, tasks: Scheduler, timer: Clock) -> Explorer:
    """Simulate round 0 and train on it; where no model can be trained, sampling goes on without one.

    Where the bursts start decides how precise the statistics are, not whether they are right.
    """
    from latentmd.sampling.hybrid.run import Stopped
    from latentmd.sampling.hybrid.store import Store
    from latentmd.sampling.hybrid.training import train_bundle
    from latentmd.training.loop import TrainingError

    folder = run.folder / "bootstrap" / "model"
    failure = run.folder / NO_MODEL
    if not (folder / ENSEMBLE).exists() and not failure.exists():
        # As the rounds describe themselves, so that they take these bursts for their own.
        store = Store(run.folder / "run", {**core.identity(), "states": None})
        starts = start[np.arange(core.starts) % len(start)]
        run.report("first simulations", 0.0, 1.0)
        with timer.part("round 0"):
            if not bootstrap.simulate(run.engine, starts, core.frames, store, 0, run.seed, tasks, run.stop):
                raise Stopped(run.folder)
        bursts = bootstrap.good_bursts(store, 0, core.starts, core.relaxation)
        folder.mkdir(exist_ok=True)

        def report(stage: str, step: int, steps: int, values: dict[str, float]) -> None:
            run.report(f"training: {stage}", float(step), float(steps))
            if run.stop():
                raise KeyboardInterrupt  # the training goes on from its last checkpoint

        with timer.part("training"):
            try:
                train_bundle(bursts, run.recipe, folder, seed=run.seed, resume=True, report=report)
            except TrainingError as error:
                write_atomically(failure, f"{error}\n")
        if run.stop():
            raise Stopped(run.folder)
    if failure.exists():
        run.report("no surrogate could be trained; going on without", 0.0, 1.0)
        return PlainAdaptive()
    return SurrogateExplorer(folder / MODEL, run.recipe, run.device)
