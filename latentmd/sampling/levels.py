"""Hybrid sampling at a level of exactness: a surrogate says where to go, short unbiased MD supplies every number."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.sampling.errors import RunError, RunInterrupted, Stopped, refuse_unsound
from latentmd.sampling.exactness import Level, promise
from latentmd.sampling.request import (
    HybridBudget,
    HybridRequest,
    HybridResult,
    HybridRun,
    HybridSettings,
    Report,
    no_report,
    picoseconds,
)

if TYPE_CHECKING:
    from latentmd.sampling.conditions import ModelFile
    from latentmd.sampling.hybrid.run import Watch
    from latentmd.sampling.scheduler import Scheduler
    from latentmd.systems.builder import Molecule, Protocol, Solvent


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
    exactness: Level = "reweighted",
    resume: bool = False,
    overwrite: bool = False,
    report: Report | None = None,
    watch: Watch | None = None,
) -> HybridResult:
    """Sample the equilibrium of a molecule: train or take a model, then rounds of proposals and unbiased MD bursts.

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

    Returns:
        Folder, status, trajectories and summary of the run.

    Raises:
        ValueError: a setting, the molecule or the model is wrong.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C or SIGTERM; resume goes on.
    """
    request = HybridRequest(
        budget=HybridBudget(picoseconds(time), wall), out=Path(f"{Path(pdb).stem}-hybrid" if out is None else out),
        model=None if model is None else str(model), temperature=temperature, solvent=solvent,
        force_field=tuple(force_field), seed=seed, scheduler=scheduler, processes=processes, device=device,
        settings=settings or HybridSettings(), exactness=exactness, resume=resume, overwrite=overwrite,
    )  # fmt: skip
    return run_hybrid(Path(pdb), request, None, report or no_report, watch)


def run_hybrid(
    source: Path, request: HybridRequest, built: Molecule | None, report: Report, watch: Watch | None
) -> HybridResult:
    """Run hybrid sampling as asked for.

    Args:
        source: file of the molecule.
        request: settings.
        built: the molecule, where it was built already.
        report: called with (stage, done, total) before the rounds.
        watch: called after every round.

    Raises:
        ValueError, OutputError, RunError, RunInterrupted: as `hybrid`.
    """
    from latentmd.io.folder import policy_of
    from latentmd.sampling.conditions import check_covered, given_model
    from latentmd.sampling.contracts import BurstError
    from latentmd.sampling.hybrid.bootstrap import BootstrapError
    from latentmd.sampling.hybrid.folder import open_folder
    from latentmd.sampling.hybrid.rounds import HybridError
    from latentmd.sampling.hybrid.run import hybrid_protocol, prepare_run
    from latentmd.sampling.hybrid.store import StoreError
    from latentmd.sampling.preparation import molecule_under
    from latentmd.sampling.processes import cores
    from latentmd.sampling.scheduler import open_scheduler

    promise(request.exactness)
    model = None if request.model is None else given_model(request.model)
    if model is not None and model.many:
        raise ValueError(
            f"--mode hybrid trains a model of the molecule itself and does not start from {model.manifest.name} yet; "
            "leave out --model, or leave out --mode to simulate with it"
        )
    protocol = hybrid_protocol(request, model)
    record = _record(source, request, protocol, model)
    with ExitStack() as held, stop_on_signals() as stop:
        try:
            policy = policy_of(request.resume, request.overwrite)
            folder, lock = open_folder(request.out, record, policy)
            held.enter_context(lock)
            report("preparing")
            molecule = molecule_under(protocol, source, built)
            if model is not None:
                check_covered(molecule, model, source)
            run = prepare_run(molecule, folder, request, model)
            run.report, run.stop = report, stop
            with open_scheduler(request.scheduler, request.processes or cores()) as tasks:
                result = _at_level(run, request, tasks, watch)
            _refuse_unsound(result)
            return result
        except (BootstrapError, BurstError, HybridError, StoreError) as error:
            raise RunError(str(error)) from error
        except BaseException as error:
            if stop() and not isinstance(error, RunInterrupted):
                raise Stopped(request.out) from error
            raise


def _record(source: Path, request: HybridRequest, protocol: Protocol, model: ModelFile | None) -> dict[str, Any]:
    """Settings that must be equal for a run to be resumed, as JSON values."""
    return {
        "molecule": source.read_bytes().decode("latin-1") if source.is_file() else str(source),
        "model": None if model is None else model.name,
        "protocol": asdict(protocol),
        "seed": request.seed,
        "settings": asdict(request.settings),
        "exactness": request.exactness,
    }


def _at_level(run: HybridRun, request: HybridRequest, tasks: Scheduler, watch: Watch | None) -> HybridResult:
    from latentmd.sampling.hybrid.run import sample_rounds
    from latentmd.sampling.hybrid.structures import sample_structures
    from latentmd.sampling.metropolis.run import sample_chains

    if request.exactness == "reweighted":
        return sample_rounds(run, tasks, request.budget, watch)
    if request.exactness == "metropolised":
        return sample_chains(run, tasks, request.budget)
    return sample_structures(run, tasks, request.budget, request.exactness)


def _refuse_unsound(result: HybridResult) -> None:
    """Fail a run that ended with most of its bursts discarded, or most of its structures unsound.

    Raises:
        RunError: it did.
    """
    summary = result.summary
    if "discarded_bursts" in summary:
        lost = sum(summary["discarded_bursts"].values())
        refuse_unsound(lost, lost + summary["bursts"], "bursts were discarded", result.folder)
    if "structures_failing_checks" in summary:
        failing, proposals = summary["structures_failing_checks"], summary["proposals"]
        refuse_unsound(failing, proposals, "structures fail their structure checks", result.folder)


@contextmanager
def stop_on_signals() -> Iterator[Callable[[], bool]]:
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
