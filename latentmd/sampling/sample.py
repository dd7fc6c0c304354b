"""`simulate`: chooses how a molecule is sampled, refuses settings that have no meaning there, and runs it."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.sampling.choice import DEFAULT_WALL, Facts, Way, choose
from latentmd.sampling.exactness import Level, promise
from latentmd.sampling.force_fields import refuse_force_field
from latentmd.sampling.levels import run_hybrid
from latentmd.sampling.request import (
    MODES,
    HybridBudget,
    HybridRequest,
    HybridResult,
    Mode,
    Report,
    RolloutSettings,
    no_report,
    picoseconds,
)
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.sampling.hybrid.run import Watch
    from latentmd.sampling.rollout.run import RunResult
    from latentmd.systems.builder import Molecule, Solvent

logger = logging.getLogger(__name__)

_WALKERS, _TIME, _SAVE_EVERY, _BURST = 16, 10_000.0, 100.0, 2.0  # defaults of walkers; times in ps
_HYBRID_TIME = 100_000.0  # default budget of hybrid sampling, ps
_WALKERS_ONLY = ("walkers", "save_every", "cycle", "burst")
_HYBRID_ONLY = ("wall", "scheduler")
_WAYS: dict[Way, tuple[Mode, Level]] = {
    "model": ("alternate", "reweighted"),
    "chains": ("hybrid", "metropolised"),
    "bursts": ("hybrid", "reweighted"),
    "md": ("md", "reweighted"),
}


def load(name_or_path: str | Path, device: str = "auto") -> Propagator:
    """A model, ready to use: a bundled one by name, any other by path.

    Args:
        name_or_path: of the model.
        device: "auto", "cpu" or "cuda".

    Raises:
        BundleError: no such model, or a damaged or foreign file.
    """
    from latentmd.model.propagator import Propagator

    return Propagator(name_or_path, device)


@dataclass(frozen=True)
class Options:
    """Options of `simulate`, which documents them; None where not given, times in ps."""

    pdb: Path
    model: str | None
    mode: Mode | None
    exactness: Level | None
    time: float | None
    wall: float | None
    walkers: int | None
    save_every: float | None
    cycle: float | None
    burst: float | None
    scheduler: str | None
    device: str
    out: Path | None
    shared: dict[str, Any]  # temperature, solvent, force_field, seed, processes, overwrite, resume: of every way


def simulate(
    pdb: str | Path, *, model: str | Path | None = None, mode: Mode | None = None, exactness: Level | None = None,
    time: str | float | None = None, wall: float | None = None, walkers: int | None = None,
    save_every: str | float | None = None, cycle: str | float | None = None, burst: str | float | None = None,
    temperature: float | None = None, solvent: Solvent | None = None, force_field: Sequence[str] = (),
    seed: int = 0, device: str = "auto", processes: int | None = None, scheduler: str | None = None,
    out: str | Path | None = None, overwrite: bool = False, resume: bool = False,
    inputs: InputOptions = DEFAULT_INPUTS, progress: Report | None = None, watch: Watch | None = None,
) -> RunResult | HybridResult:  # fmt: skip
    """Simulate a molecule with a model and write full-atom trajectories.

    Args:
        pdb: the molecule.
        model: name of a bundled model or path of one; the bundled one that covers the molecule where None.
        mode: "alternate" (latent steps and MD by turns), "latent" (latent steps only), "md" (plain MD) or "hybrid"
            (statistics by exact chains or by unbiased MD bursts). Where None: hybrid with an `exactness`; alternate
            with a `model` or in explicit solvent; else what `latentmd.sampling.choice.choose` says.
        exactness: of hybrid sampling; with a mode "hybrid" "reweighted" where None.
        time: per walker, 10 ns where None; of all bursts together in mode "hybrid", 100 ns. Text with a unit, or ps.
        wall: hybrid: budget of wall time in seconds, over all sessions of the run; 10 min where exact chains are chosen
            and it is None.
        walkers: independent runs; 16 where None. Not for hybrid.
        save_every: time between frames; 100 ps where None. Not for hybrid.
        cycle: length of one cycle of alternation, a multiple of save_every; about 1 ns where None.
        burst: MD at the end of each cycle; 2 ps where None.
        temperature, solvent, force_field: kelvin, "implicit", "vacuum" or "explicit", and OpenMM force-field XML
            files; must be the model's, except in modes "md" and "hybrid".
        seed: decides all randomness, with the number of a walker, or of a round and task.
        device: of the model: "auto", "cpu" or "cuda".
        processes: worker processes; one per core where None.
        scheduler: hybrid: address of a Dask scheduler; this machine where None.
        out: output folder; `<stem>-latentmd` or `<stem>-hybrid` where None.
        overwrite: replace an earlier run in `out`.
        resume: go on with the run in `out`, which must have been begun with the same settings; begins where there is
            none.
        inputs: choices where the file leaves one: pH, model number, alternate location, missing residues, ends.
        progress: called with (stage, done, total); simulated and total ps of walkers.
        watch: hybrid: called after every round with (progress, seconds so far, wall budget).

    Returns:
        Folder, trajectories, topology and summary of the run.

    Raises:
        ValueError: a setting, the molecule or the model is wrong, or they do not fit together.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    shared = {
        "temperature": temperature, "solvent": solvent, "force_field": tuple(force_field), "seed": seed,
        "processes": processes, "overwrite": overwrite, "resume": resume, "inputs": inputs,
    }  # fmt: skip
    options = Options(
        pdb=Path(pdb), model=None if model is None else str(model), mode=mode, exactness=exactness, time=_ps(time),
        wall=wall, walkers=walkers, save_every=_ps(save_every), cycle=_ps(cycle), burst=_ps(burst),
        scheduler=scheduler, device=device, out=None if out is None else Path(out),
        shared=shared,
    )  # fmt: skip
    return _run(options, progress or no_report, watch)


def _ps(value: str | float | None) -> float | None:
    return None if value is None else picoseconds(value)


def _run(o: Options, report: Report, watch: Watch | None) -> RunResult | HybridResult:
    begin = clock.perf_counter()
    refuse_force_field(o.pdb, o.shared["inputs"], o.shared["force_field"])
    mode, level, built = _choose(o)
    stem = o.pdb.stem
    if mode == "hybrid":
        _refuse_for_hybrid(o, level)
        wall = DEFAULT_WALL if o.wall is None and o.mode is None and o.exactness is None else o.wall
        request = HybridRequest(
            budget=HybridBudget(_HYBRID_TIME if o.time is None else o.time, wall),
            out=o.out or Path(f"{stem}-hybrid"),
            exactness=level,
            model=o.model,
            device="cpu" if o.device == "auto" else o.device,
            scheduler=o.scheduler,
            **o.shared,
        )
        return run_hybrid(o.pdb, request, built, report, watch)
    _refuse(o, _HYBRID_ONLY, mode)
    settings = RolloutSettings(
        mode=mode,
        time=_TIME if o.time is None else o.time,
        interval=_SAVE_EVERY if o.save_every is None else o.save_every,
        walkers=_WALKERS if o.walkers is None else o.walkers,
        out=o.out or Path(f"{stem}-latentmd"),
        model=o.model,
        device=o.device,
        cycle=o.cycle,
        burst=_BURST if o.burst is None else o.burst,
        **o.shared,
    )
    from latentmd.sampling.rollout.run import execute
    from latentmd.sampling.rollout.simulate import simulate_plan

    plan = simulate_plan(o.pdb, settings, built)
    plan.started = begin
    return execute(plan, report)


def _choose(o: Options) -> tuple[Mode, Level, Molecule | None]:
    """Mode and level asked for or those that suit the molecule, and the molecule where it was built for that."""
    if o.mode is not None and o.mode not in MODES:
        raise ValueError(f"--mode is {o.mode!r}; expected one of {', '.join(MODES)}")
    if o.exactness is not None:
        promise(o.exactness)
        if o.mode not in (None, "hybrid"):
            raise ValueError(f"--exactness has no meaning with --mode {o.mode}; leave one of them out")
        return "hybrid", o.exactness, None
    if o.mode is not None:
        return o.mode, "reweighted", None
    solvent, force_field = o.shared["solvent"], o.shared["force_field"]
    if o.model is not None or solvent == "explicit":
        return "alternate", "reweighted", None
    from latentmd.systems.builder import Protocol, build

    molecule = build(o.pdb, Protocol(solvent or "implicit", force_field, inputs=o.shared["inputs"]))
    facts = _facts(o, molecule)
    way, reason = choose(facts)
    if facts.uncovered:
        logger.warning("%s", reason)
    mode, level = _WAYS[way]
    return mode, level, molecule


def _facts(o: Options, molecule: Molecule) -> Facts:
    """What the rule looks at."""
    from latentmd.sampling.conditions import UncoveredError, bundled_model
    from latentmd.sampling.metropolis.run import unsuitable

    trajectories = any(getattr(o, name) is not None for name in ("time", *_WALKERS_ONLY))
    try:
        model = bundled_model(molecule, o.pdb, o.shared["temperature"])
    except UncoveredError as error:
        return Facts(error.reason, unsuitable(molecule), trajectories=trajectories, wall=o.wall)
    if model.many and o.wall is not None:
        reason = f"{model.name} is a model of many peptides, and --wall asks for exact statistics of this one"
        return Facts(reason, unsuitable(molecule), trajectories=trajectories, wall=o.wall)
    return Facts("", "", trajectories=trajectories, wall=o.wall)


def _refuse(o: Options, unused: Sequence[str], mode: str) -> None:
    """Refuse settings that a mode has no use for."""
    for name in unused:
        if getattr(o, name) is not None:
            raise ValueError(f"--{name.replace('_', '-')} has no meaning with --mode {mode}; leave it out")


def _refuse_for_hybrid(o: Options, level: Level) -> None:
    _refuse(o, _WALKERS_ONLY, "hybrid")
    budgets: dict[str, tuple[str, ...]] = {"reweighted": (), "metropolised": ("time",)}
    _refuse(o, budgets.get(level, ("time", "wall")), f"hybrid --exactness {level}")
