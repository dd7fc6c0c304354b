"""`latentmd simulate --mode hybrid`: a surrogate says where to go, short unbiased MD supplies every number."""

from __future__ import annotations

import signal
import threading
import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latentmd.sampling.rollout.run import RunError, RunInterrupted, picoseconds
from latentmd.sampling.workers import cores

if TYPE_CHECKING:
    from latentmd.sampling.contracts import Scheduler
    from latentmd.sampling.engine import MoleculeEngine
    from latentmd.sampling.hybrid.rounds import Hybrid, Outcome, Progress
    from latentmd.sampling.hybrid.training import Recipe
    from latentmd.systems.builder import Protocol, Solvent

_SERIAL = 100  # atoms up to which one core is faster without threads; a short timing on a busy machine may not show it
TEMPERATURE = 300.0  # kelvin, where neither the user nor a model names one
Report = Callable[[str, float, float], None]
Exactness = Literal["raw", "relaxed", "gated", "reweighted", "metropolised"]
Watch = Callable[["Progress", float, float], None]


@dataclass(frozen=True)
class HybridSettings:
    """What a hybrid run is asked for; times in ps.

    A barrier is crossed within tenths of a ps: a burst that begins on its flank has left it by then, so lag and bursts
    are short, and the start counts. That is right as long as velocities are forgotten within the lag, since starts have
    fresh ones while frames on the way down from a barrier do not; hence the friction, on which populations do not
    depend, but all times do. At 1/ps the same statistics are off by several kT (examples/hybrid/friction.py).

    Attributes:
        interval: between frames.
        burst: length of a burst; the relaxation time is its first part.
        relaxation: first part of a burst, left out of the statistics.
        lag: of the Markov model, at least the memory of velocities, 1 / friction.
        friction: of the bursts, per ps.
        starts: bursts per round.
        cells: most cells of the Markov model.
        proposals: share of the starts that the surrogate may propose; 0 is plain adaptive sampling.
        precise: share of the starts that go to cells without a path there and back and, once there are none, where a
            burst lowers the standard errors of the free energies most; the rest goes to the least-visited ones.
        surrogate: whether a surrogate is trained at all.
        hot: whether walkers at high temperature look for other basins first.
        effort: of the training, 1 for about half a minute of one core.
        precision: standard error of every state's free energy at which a run is converged, kT.
    """

    interval: float = 0.02
    burst: float = 1.0
    relaxation: float = 0.0
    lag: float = 0.2
    friction: float = 10.0
    starts: int = 256
    cells: int = 240
    proposals: float = 0.5
    precise: float = 0.75
    surrogate: bool = True
    hot: bool = True
    effort: float = 0.3
    precision: float = 0.25


@dataclass(frozen=True)
class HybridResult:
    """A hybrid run that ended.

    Attributes:
        folder: where it is.
        status: "converged" or "budget".
        summary: the content of summary.json.
    """

    folder: Path
    status: str
    summary: dict[str, Any]


@dataclass
class HybridRun:
    """A checked request, and what its stages share."""

    folder: Path
    engine: MoleculeEngine
    reference: Any
    settings: HybridSettings
    recipe: Recipe
    seed: int
    model: str | None
    report: Report
    stop: Callable[[], bool]
    device: str = "cpu"
    began: float = field(default_factory=clock.monotonic)


def hybrid(
    pdb: str | Path,
    *,
    out: str | Path | None = None,
    model: str | Path | None = None,
    time: str | float = "100ns",
    wall: float | None = None,
    temperature: float | None = None,
    solvent: Solvent | None = None,
    force_field: Sequence[str] = (),
    seed: int = 0,
    scheduler: str | None = None,
    processes: int | None = None,
    device: str = "cpu",
    settings: HybridSettings | None = None,
    exactness: Exactness = "reweighted",
    resume: bool = False,
    overwrite: bool = False,
    report: Report | None = None,
    watch: Watch | None = None,
) -> HybridResult:
    """Sample the equilibrium of a molecule: bootstrap or take a model, then rounds of proposals and unbiased bursts.

    Args:
        pdb: the molecule; anything that OpenMM can parametrise.
        out: output folder; `<stem>-hybrid` where None.
        model: bundle that proposes structures; None trains one from a first round of MD.
        time: budget of simulated time, all bursts together; text with a unit, or ps. Chains ("metropolised") have none.
        wall: budget of wall time in seconds, over all sessions of the run.
        temperature: kelvin; the model's where None, or 300.
        solvent: "implicit" or "vacuum"; the model's where None, or implicit.
        force_field: OpenMM force-field XML files; the model's where empty, or the default of the solvent.
        seed: decides all randomness.
        scheduler: address of a Dask scheduler; this machine where None.
        processes: worker processes on this machine; one per core where None.
        device: of the model.
        settings: lengths and numbers of the bursts.
        exactness: "reweighted"; "metropolised", exact chains of a small molecule; or a level that makes structures
            without statistics: "raw", "relaxed" or "gated".
        resume: go on with the run in `out`; starts afresh where there is none.
        overwrite: replace the run in `out`.
        report: called with (stage, done, total) before the rounds.
        watch: called after every round with (progress, seconds of wall time so far, wall budget or infinity).

    Raises:
        ValueError: a setting, the molecule or the model is wrong.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C or SIGTERM; resume goes on.
    """
    from latentmd.sampling.contracts import BurstError
    from latentmd.sampling.hybrid.bootstrap import BootstrapError
    from latentmd.sampling.hybrid.folder import open_folder
    from latentmd.sampling.hybrid.rounds import HybridError
    from latentmd.sampling.hybrid.store import StoreError
    from latentmd.sampling.scheduler import scheduler as scheduler_of

    settings = settings or HybridSettings()
    source = Path(pdb)
    folder = Path(f"{source.stem}-hybrid" if out is None else out)
    protocol, bundle = _conditions(temperature, solvent, tuple(force_field), model, settings.friction)
    request = {
        "molecule": source.read_text(encoding="utf-8") if source.is_file() else str(source), "model": bundle,
        "protocol": asdict(protocol), "seed": seed, "settings": asdict(settings), "exactness": exactness,
    }  # fmt: skip
    budget = picoseconds(time)
    if budget <= 0 or (wall is not None and wall <= 0):
        raise ValueError(f"the budget is {budget:g} ps and {wall} s; expected positive numbers")
    with _stoppable() as stop:
        try:
            store = open_folder(folder, request, resume, overwrite)
            run = _prepare(source, protocol, store, settings, seed, bundle, stop, report or (lambda *_: None), device)
            with scheduler_of(scheduler, processes or cores()) as tasks:
                if exactness == "reweighted":
                    return _sample(run, tasks, budget, wall, watch)
                if exactness == "metropolised":
                    return _chains(run, tasks, budget, wall)
                return _draw(run, exactness, tasks, budget)
        except (BootstrapError, BurstError, HybridError) as error:
            raise RunError(str(error)) from error
        except StoreError as error:
            raise RunError(str(error)) from error
        except BaseException as error:
            if stop() and not isinstance(error, RunInterrupted):
                raise Stopped(folder) from error
            raise


class Stopped(RunInterrupted):
    """A run that was asked to stop, and did after its last checkpoint."""

    def __init__(self, folder: Path) -> None:
        KeyboardInterrupt.__init__(self, f"stopped; run the same line with --resume to go on ({folder})")


def _conditions(
    temperature: float | None,
    solvent: Solvent | None,
    force_field: tuple[str, ...],
    model: str | Path | None,
    friction: float,
) -> tuple[Protocol, str | None]:
    """Protocol of the bursts and path of the model, which only proposes and may come from other conditions."""
    from latentmd.sampling.conditions import given_model, protocol_of
    from latentmd.sampling.rollout.md import check_protocol
    from latentmd.systems.builder import Protocol

    path = None
    protocol = Protocol(temperature=TEMPERATURE)
    if model is not None:
        manifest, path, _ = given_model(str(model))
        protocol = protocol_of(manifest)
    protocol = replace(
        protocol,
        temperature=protocol.temperature if temperature is None else temperature,
        solvent=solvent or protocol.solvent,
        force_field=force_field or (protocol.force_field if solvent in (None, protocol.solvent) else ()),
        friction=friction,
    )
    check_protocol(protocol)
    if protocol.solvent == "explicit":
        raise ValueError(
            "a surrogate moves the molecule alone and cannot move the water around it; use --solvent implicit or vacuum"
        )
    return protocol, path


def _prepare(
    source: Path,
    protocol: Protocol,
    folder: Any,
    settings: HybridSettings,
    seed: int,
    model: str | None,
    stop: Callable[[], bool],
    report: Report,
    device: str,
) -> HybridRun:
    """Build the molecule and its engine; platform and minimised positions are kept, so that a resumed run equals."""
    from latentmd.sampling.engine import MoleculeEngine
    from latentmd.sampling.hybrid.training import Recipe
    from latentmd.sampling.rollout.run import minimised
    from latentmd.systems.builder import build
    from latentmd.systems.platforms import platform_rates

    report("preparing", 0.0, 1.0)
    molecule = build(source, protocol)
    if model is not None:
        from latentmd.model.file import read_manifest
        from latentmd.sampling.conditions import check_covered

        check_covered(molecule, read_manifest(model), model, source)

    def choose() -> dict[str, Any]:
        rates = platform_rates(molecule, 1)
        if molecule.system.getNumParticles() <= _SERIAL:
            del rates["CPU"]
        platform = max(rates, key=lambda name: rates[name])
        return {"platform": np.array(platform), "positions": minimised(molecule, platform)}

    kept = folder.once("molecule.npz", choose)
    folder.write_topology(molecule, kept["positions"])
    engine = MoleculeEngine.of(molecule, kept["positions"], settings.interval, str(kept["platform"]))
    frames = round(settings.burst / settings.interval)
    recipe = Recipe(folder.topology, protocol, settings.interval, frames, settings.effort)
    return HybridRun(folder.path, engine, kept["positions"], settings, recipe, seed, model, report, stop, device)


def _draw(run: HybridRun, level: Literal["raw", "relaxed", "gated"], tasks: Scheduler, time: float) -> HybridResult:
    """Structures of a lower rung of the exactness ladder."""
    from latentmd.sampling.hybrid.explorer import SurrogateExplorer
    from latentmd.sampling.hybrid.folder import NO_MODEL
    from latentmd.sampling.hybrid.ladder import write_ensemble
    from latentmd.sampling.hybrid.starts import begin

    core, explorer, start, _ = begin(run, tasks, time)
    if not isinstance(explorer, SurrogateExplorer):
        reason = (run.folder / NO_MODEL).read_text(encoding="utf-8").strip()
        raise RunError(f"--exactness {level} draws from a surrogate, and none could be trained: {reason}")
    summary = write_ensemble(run, core, explorer, start, level, tasks)
    return HybridResult(run.folder, "complete", summary)


def _chains(run: HybridRun, tasks: Scheduler, time: float, wall: float | None) -> HybridResult:
    """Metropolis chains, the top rung of the exactness ladder."""
    from latentmd.sampling.hybrid.starts import begin, clock_of
    from latentmd.sampling.metropolis.run import check_suitable, write_metropolis

    check_suitable(run.engine)
    core, explorer, start, _ = begin(run, tasks, time)
    summary = write_metropolis(run, core, explorer, start, wall or float("inf"), clock_of(run), tasks)
    return HybridResult(run.folder, summary["status"], summary)


def _sample(run: HybridRun, tasks: Scheduler, time: float, wall: float | None, watch: Watch | None) -> HybridResult:
    """Bootstrap where it is still to be done, then rounds until the end, then the results."""
    from latentmd.sampling.hybrid.explorer import Loader
    from latentmd.sampling.hybrid.results import write_results
    from latentmd.sampling.hybrid.rounds import Hybrid
    from latentmd.sampling.hybrid.starts import begin

    core, explorer, start, spent = begin(run, tasks, time)
    if wall is not None:
        core = replace(core, wall=max(1.0, wall - spent.wall))

    def watching(progress: Progress) -> None:
        if watch is not None:
            watch(progress, spent.wall + progress.wall, wall or float("inf"))

    sampler: Hybrid = Hybrid(
        run.engine, explorer, Loader(run.recipe, run.device), start, None, core, run.folder / "run", tasks, watching
    )
    outcome: Outcome = sampler.run(run.stop)
    if outcome.status == "stopped":
        raise Stopped(run.folder)
    summary = write_results(run, sampler, outcome, spent)
    return HybridResult(run.folder, outcome.status, summary)


@contextmanager
def _stoppable() -> Iterator[Callable[[], bool]]:
    """A function that says whether SIGTERM (preemption) or SIGINT asked to stop; a second signal stops at once."""
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked.is_set
        return

    def ask(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    before = {number: signal.signal(number, ask) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield asked.is_set
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
