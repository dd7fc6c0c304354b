"""A hybrid run of a molecule: its conditions, its preparation, and the rounds that end in weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.sampling.errors import Stopped
from latentmd.sampling.request import HybridBudget, HybridRequest, HybridResult, HybridRun

if TYPE_CHECKING:
    from latentmd.sampling.conditions import ModelFile
    from latentmd.sampling.hybrid.folder import HybridFolder
    from latentmd.sampling.hybrid.rounds import Hybrid, Outcome, RoundProgress
    from latentmd.sampling.scheduler import Scheduler
    from latentmd.systems.builder import Molecule, Protocol

#: Up to this many atoms the CPU platform is skipped: threads cost more than they save, and a 0.15 s timing is too noisy
#: to show it.
_SERIAL = 100
TEMPERATURE = 300.0  # kelvin, where neither the user nor a model names one
#: Called after every round with (progress, seconds of wall time so far, wall budget or infinity).
Watch = Callable[["RoundProgress", float, float], None]


def hybrid_protocol(asked: HybridRequest, model: ModelFile | None) -> Protocol:
    """Protocol of the bursts; the model only proposes, so that it may come from other conditions.

    Args:
        asked: settings.
        model: that proposes structures, if one was given.

    Raises:
        ValueError: a number is out of range, or the solvent is explicit.
    """
    from latentmd.sampling.conditions import protocol_of
    from latentmd.sampling.preparation import check_protocol
    from latentmd.systems.builder import Protocol

    given = Protocol(temperature=TEMPERATURE) if model is None else protocol_of(model.manifest)
    protocol = replace(
        given,
        temperature=given.temperature if asked.temperature is None else asked.temperature,
        solvent=asked.solvent or given.solvent,
        force_field=asked.force_field or (given.force_field if asked.solvent in (None, given.solvent) else ()),
        friction=asked.settings.friction,
        inputs=asked.inputs,
    )
    check_protocol(protocol)
    if protocol.solvent == "explicit":
        raise ValueError(
            "a surrogate moves the molecule alone and cannot move the water around it; use --solvent implicit or vacuum"
        )
    return protocol


def prepare_run(molecule: Molecule, folder: HybridFolder, request: HybridRequest, model: ModelFile | None) -> HybridRun:
    """Make the engine of a run; platform and minimised positions are stored, so that a resumed run is bit-identical.

    Args:
        molecule: under the protocol of the bursts.
        folder: of the run.
        request: settings.
        model: that proposes structures, if one was given.
    """
    from latentmd.sampling.engine import MoleculeEngine
    from latentmd.sampling.preparation import minimised
    from latentmd.systems.platforms import platform_rates

    def choose() -> dict[str, Any]:
        rates = platform_rates(molecule, 1)
        if molecule.system.getNumParticles() <= _SERIAL:
            del rates["CPU"]
        platform = max(rates, key=lambda name: rates[name])
        return {"platform": np.array(platform), "positions": minimised(molecule, platform)}

    kept = folder.made_once("molecule.npz", choose)
    folder.write_topology(molecule, kept["positions"])
    engine = MoleculeEngine.of(molecule, kept["positions"], request.settings.interval, str(kept["platform"]))
    return HybridRun(
        folder.path,
        engine,
        kept["positions"],
        settings=request.settings,
        seed=request.seed,
        model=None if model is None else model.name,
        device=request.device,
    )


def sample_rounds(run: HybridRun, tasks: Scheduler, budget: HybridBudget, watch: Watch | None = None) -> HybridResult:
    """Bootstrap where that is still to be done, then run rounds until the end, then write the results.

    Args:
        run: the request and the engine.
        tasks: runs the simulations.
        budget: of simulated and wall time.
        watch: called after every round.

    Raises:
        BootstrapError, HybridError, StoreError: the run cannot go on.
        Stopped: the run was asked to stop.
    """
    from latentmd.sampling.hybrid.explorer import Loader
    from latentmd.sampling.hybrid.page import write_free_energy_page
    from latentmd.sampling.hybrid.results import write_results
    from latentmd.sampling.hybrid.rounds import Hybrid
    from latentmd.sampling.hybrid.starts import prepare_rounds
    from latentmd.sampling.hybrid.training import recipe_of

    ready = prepare_rounds(run, tasks, budget.time)
    core, spent = ready.core, ready.spent
    if budget.wall is not None:
        core = replace(core, wall=max(1.0, budget.wall - spent.total))

    def watching(progress: RoundProgress) -> None:
        if watch is not None:
            watch(progress, spent.total + progress.wall, budget.seconds)

    sampler: Hybrid = Hybrid(
        run.engine,
        ready.explorer,
        load=Loader(recipe_of(run), run.device),
        start=ready.starts,
        settings=core,
        folder=run.folder / "run",
        scheduler=tasks,
        watch=watching,
    )
    outcome: Outcome = sampler.run(run.stop)
    if outcome.status == "stopped":
        raise Stopped(run.folder)
    summary, weights = write_results(run, sampler, outcome, spent)
    if summary["review"] is not None and weights is not None:
        write_free_energy_page(run, sampler, summary, weights)
    return HybridResult(run.folder, outcome.status, summary)
