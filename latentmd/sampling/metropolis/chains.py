"""Exact chains of a molecule, from what was asked for to the files that they leave."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmd.io.progress import Progress, quiet
from latentmd.sampling.metropolis.settings import ChainsRequest, ChainsResult, ChainsRun
from latentmd.sampling.run.clock import Budget
from latentmd.sampling.run.stopping import RunInterrupted, Stopped, stop_on_signals

if TYPE_CHECKING:
    from latentmd.sampling.metropolis.folder import ChainsFolder
    from latentmd.sampling.models import Model
    from latentmd.systems.builder import Molecule, Protocol

TEMPERATURE = 300.0  # kelvin, where neither the user nor a model names one
FRICTION = 10.0  # 1/ps, of the MD that scatters the replicas


def chains(
    source: Path, request: ChainsRequest, built: Molecule | None = None, report: Progress = quiet
) -> ChainsResult:
    """Sample a molecule of a file, which may have been built already, with exact chains.

    ValueError for a setting, molecule or model that is wrong or a molecule that chains do not suit, OutputError for the
    folder, RunInterrupted after Ctrl-C or SIGTERM; resume goes on.
    """
    from latentmd.io.folder import claim_folder
    from latentmd.sampling.metropolis.folder import FILES, ChainsFolder
    from latentmd.sampling.metropolis.run import check_suitable, sample_chains
    from latentmd.sampling.models import ManyMolecules, given_model
    from latentmd.sampling.run.preparation import molecule_under, say_notes
    from latentmd.sampling.run.processes import cores
    from latentmd.sampling.run.scheduler import open_scheduler

    model = None if request.model is None else given_model(request.model)
    if isinstance(model, ManyMolecules):
        raise ValueError(
            f"--mode chains takes a model of the molecule itself, and {request.model} is one of many peptides; leave "
            "out --model, since chains begin from the bundled one of many peptides wherever it covers the molecule"
        )
    protocol = _protocol(request, model)
    with ExitStack() as held, stop_on_signals() as stop:
        try:
            record = _record(source, request, protocol, model)
            held.enter_context(claim_folder(request.out, request.policy, FILES, record))
            report("preparing")
            molecule = molecule_under(protocol, source, built)
            if model is not None:
                model.check(molecule, source)
            check_suitable(molecule)
            say_notes(molecule, source)
            run = replace(_prepared(molecule, ChainsFolder(request.out), request, model), report=report, stop=stop)
            with open_scheduler(request.scheduler, request.processes or cores()) as tasks:
                return sample_chains(run, tasks)
        except BaseException as error:
            if stop() and not isinstance(error, RunInterrupted):
                raise Stopped(request.out) from error
            raise


def _protocol(asked: ChainsRequest, model: Model | None) -> Protocol:
    """Protocol of the chains; a model only proposes, so that it may come from other conditions."""
    from latentmd.sampling.models import protocol_of
    from latentmd.sampling.run.preparation import check_protocol
    from latentmd.systems.builder import Protocol

    given = Protocol(temperature=TEMPERATURE) if model is None else protocol_of(model.manifest)
    protocol = replace(
        given,
        temperature=given.temperature if asked.temperature is None else asked.temperature,
        solvent=asked.solvent or given.solvent,
        force_field=asked.force_field or (given.force_field if asked.solvent in (None, given.solvent) else ()),
        friction=FRICTION,
        inputs=asked.inputs,
    )
    check_protocol(protocol)
    if protocol.solvent == "explicit":
        raise ValueError(
            "exact chains turn bonds of the molecule alone and cannot move the water around it; use --solvent implicit "
            "or vacuum"
        )
    return protocol


def _record(source: Path, request: ChainsRequest, protocol: Protocol, model: Model | None) -> dict[str, Any]:
    """Settings that must be equal for a run to be resumed, as JSON values."""
    return {
        "molecule": source.read_bytes().decode("latin-1") if source.is_file() else str(source),
        "model": None if model is None else model.name,
        "protocol": asdict(protocol),
        "seed": request.seed,
        "precision": request.precision,
    }


def _prepared(molecule: Molecule, folder: ChainsFolder, request: ChainsRequest, model: Model | None) -> ChainsRun:
    """The run; its minimised positions are stored, so that a resumed one is bit-identical."""
    from latentmd.molecule.checks import topology_arrays
    from latentmd.molecule.torsions import rotatable_torsions
    from latentmd.sampling.metropolis.folder import CHAINS
    from latentmd.sampling.run.preparation import minimised

    kept = folder.made_once("molecule.npz", lambda: {"positions": minimised(molecule, "Reference")})
    folder.write_topology(molecule, kept["positions"])
    quads = rotatable_torsions(*topology_arrays(molecule.topology))
    name = None if model is None else model.name
    budget = Budget(folder.path / CHAINS / "wall.json", request.wall, request.begun)
    return ChainsRun(folder.path, molecule, quads, kept["positions"], request=request, model=name, budget=budget)
