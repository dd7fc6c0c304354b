"""`simulate`: chooses how a molecule is sampled, refuses settings that have no meaning there, and runs it."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.interpreter import own_part
from latentmd.io.progress import Progress, quiet
from latentmd.model.file import BundleError, read_manifest
from latentmd.model.peptide_file import is_peptides
from latentmd.molecule.chemistry import chemistry
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.sampling.models import ManyMolecules, UncoveredError, bundled_model, refuse_force_field
from latentmd.sampling.run.options import Mode, RunOptions, WalkerOptions, picoseconds
from latentmd.sampling.run.stopping import RunResult
from latentmd.systems.builder import Molecule, Solvent, build
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions, Protocol
from latentmd.systems.sanity import in_nm

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

#: Options that only some modes have, as given; None where not given, times in ps.
Given = Mapping[str, float | str | None]

MODEL_FILE = ".pt"

#: Wall time of exact chains where the user names none, seconds.
DEFAULT_WALL = 600.0


logger = logging.getLogger(__name__)

_WALKERS, _TIME, _SAVE_EVERY, _BURST = 16, 10_000.0, 100.0, 2.0  # defaults of walkers; times in ps
_WALKERS_ONLY = ("walkers", "save_every", "cycle", "burst", "settle")


@dataclass(frozen=True)
class Way:
    """A way of sampling, by its name a mode of `simulate`.

    Attributes:
        run: makes the run of the molecule in a file: from the options that all runs share, those that only some have,
            the molecule where it was built already, and progress.
        unused: options without a meaning here.
        folder: what the name of the output folder ends in, where the user gives none.
        told: lines about a finished run.
    """

    run: Callable[[Path, RunOptions, Given, Molecule | None, Progress], RunResult]
    unused: tuple[str, ...] = ()
    folder: str = "latentmd"
    told: Callable[[RunResult], list[str]] = lambda result: [f"wrote {result.folder}/"]


def _chains(pdb: Path, run: RunOptions, given: Given, built: Molecule | None, report: Progress) -> RunResult:
    from latentmd.sampling.metropolis.run import chains

    device = "cpu" if run.device == "auto" else run.device
    return chains(pdb, ChainsRequest(**vars(replace(run, device=device))), built, report)


def _chains_told(result: RunResult) -> list[str]:
    from latentmd.sampling.metropolis.page import told

    return told(result)


def _walk(mode: Mode, pdb: Path, run: RunOptions, given: Given, built: Molecule | None, report: Progress) -> RunResult:
    from latentmd.sampling.walkers.run import execute
    from latentmd.sampling.walkers.simulate import simulate_plan

    return execute(simulate_plan(pdb, _walkers(run, mode, given), built), report)


def _walkers_told(result: RunResult) -> list[str]:
    from latentmd.sampling.walkers.page import told

    return told(result)


#: The modes. One of your own needs no entry: `--mode module:NAME`, where NAME is a `Way`.
WAYS: dict[str, Way] = {
    "model": Way(partial(_walk, "model"), ("scheduler",), told=_walkers_told),
    "latent": Way(partial(_walk, "latent"), ("scheduler",), told=_walkers_told),
    "chains": Way(_chains, ("time", *_WALKERS_ONLY), "chains", _chains_told),
    "md": Way(partial(_walk, "md"), ("scheduler", "settle"), told=_walkers_told),
}


def way_of(mode: str) -> Way:
    """The way of a mode, a name in `WAYS` or "module:NAME"; ValueError where there is none."""
    if mode in _RENAMED:
        raise ValueError(f"--mode is {mode!r}: {_RENAMED[mode]}")
    if mode not in WAYS and ":" not in mode:
        raise ValueError(f"--mode is {mode!r}; expected one of {', '.join(WAYS)}, or one of your own as module:NAME")
    return WAYS[mode] if mode in WAYS else own_part(mode, Way, "mode")


def choose(uncovered: str, unsuitable: str, trajectories: bool = False) -> tuple[Mode, str]:
    """How to simulate, and one line that says why.

    A model of the molecule comes first, and plain MD where trajectories are wanted (a length, walkers, an interval) and
    there is none: `uncovered` says why, and is empty where there is one. Otherwise exact chains, whose statistics need
    no faith in any model, and plain MD for molecules that these cannot sample: the method is `unsuitable`.

    Example:
        >>> choose(uncovered="", unsuitable="")
        ('model', 'a bundled model of this molecule')
    """
    if not uncovered:
        return "model", "a bundled model of this molecule"
    if trajectories:
        return "md", f"{uncovered}; plain MD, since trajectories were asked for"
    if not unsuitable:
        return "chains", f"{uncovered}; exact chains, beside plain MD at a tenth of the cost"
    return "md", f"{uncovered}, and exact chains do not suit: the method {unsuitable}; plain MD"


_FIELDS = {"save_every": "interval"}  # of the options of walkers, where their names differ
_RENAMED = {"alternate": "it is now --mode model", "hybrid": "bursts are gone, and exact chains are --mode chains"}


def load(name_or_path: str | Path, device: str = "auto", *, topology: Any = None, positions: Any = None) -> Propagator:
    """A model, ready to use: a bundled one by name, any other by path.

    Args:
        name_or_path: of the model.
        device: "auto", "cpu" or "cuda".
        topology: OpenMM Topology of a molecule in whose order of atoms the model is used; a model of many peptides is
            bound to it. The model's own molecule where None.
        positions: a structure of it, a Quantity or nm, shape (atoms, 3), which tells L from D residues.

    Raises:
        BundleError: no such model, a damaged or foreign file, or a model of many peptides without a topology.
        TypeError: an argument of another type.
        ValueError: the model does not cover the molecule, or the positions are not those of the topology.
    """
    from latentmd.model.propagator import Propagator

    if not isinstance(name_or_path, str | Path):
        raise TypeError(f"the model is {name_or_path!r}; expected a name or a path, such as 'alanine-dipeptide'")
    if topology is None:
        return Propagator(name_or_path, device)
    x = None if positions is None else in_nm(positions)
    if x is not None and (len(x) != chemistry(topology).n_atoms or not np.isfinite(x).all()):
        raise ValueError(
            f"positions of {len(x)} atoms; expected finite ones of {chemistry(topology).n_atoms} atoms, in nm"
        )
    if not is_peptides(name_or_path):
        return Propagator(name_or_path, device).arranged(topology, x)
    from latentmd.model.binding import bound_bundle

    if x is None:
        raise ValueError("positions are missing: a model of many peptides reads from them which residues are L or D")
    return Propagator(bound_bundle(topology, x, name_or_path), device)


def simulate(
    pdb: str | Path, *, model: str | Path | None = None, mode: str | None = None,
    time: str | float | None = None, wall: float | None = None, walkers: int | None = None,
    save_every: str | float | None = None, cycle: str | float | None = None, burst: str | float | None = None,
    settle: bool | None = None, temperature: float | None = None, solvent: Solvent | None = None,
    force_field: Sequence[str] = (), seed: int = 0, device: str = "auto", processes: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None, overwrite: bool = False, resume: bool = False,
    inputs: InputOptions = DEFAULT_INPUTS, begun: float | None = None, progress: Progress | None = None,
) -> RunResult:  # fmt: skip
    """Simulate a molecule with a model and write full-atom trajectories.

    Args:
        pdb: the molecule.
        model: name of a bundled model or path of one; the bundled one that covers the molecule where None.
        mode: "model" (latent steps of the model and MD by turns), "latent" (latent steps only), "chains" (exact
            statistics of a small molecule, by Metropolis chains), "md" (plain MD) or "module:NAME" (a `Way` of your
            own). Where None: model with a `model` or in explicit solvent; else what
            `latentmd.sampling.sample.choose` says.
        time: per walker, 10 ns where None. Text with a unit, or ps. Not for chains.
        wall: budget of wall time in seconds for everything, over all sessions of the run; where None, 10 min for chains
            that the rule chose and plain MD without a `time`, and no limit otherwise.
        walkers: independent runs; 16 where None. Not for chains.
        save_every: time between frames; 100 ps where None. Not for chains.
        cycle: length of one cycle of alternation, a multiple of save_every; about 1 ns where None.
        burst: MD at the end of each cycle; 2 ps where None.
        settle: whether decoded structures are settled by a short run of MD before they are written, which does not
            change the latent steps that follow; True where None. Only for the modes "model" and "latent".
        temperature, solvent, force_field: kelvin, "implicit", "vacuum" or "explicit", and OpenMM force-field XML
            files; must be the model's, except in modes "md" and "chains".
        seed: decides all randomness, with the number of a walker, or of a segment and task.
        device: of the model: "auto", "cpu" or "cuda".
        processes: worker processes; one per core where None.
        scheduler: chains: address of a Dask scheduler; this machine where None.
        out: output folder; `<stem>-latentmd` or `<stem>-chains` where None.
        overwrite: replace an earlier run in `out`.
        resume: go on with the run in `out`, which must have been begun with the same settings; begins where there is
            none.
        inputs: choices where the file leaves one: pH, model number, alternate location, missing residues, ends.
        begun: when the wall time began, of `time.monotonic`; now where None.
        progress: called with (stage, done, total); simulated and total ps of walkers.

    Returns:
        Folder, trajectories, topology and summary of the run.

    Raises:
        ValueError: a setting, the molecule or the model is wrong, or they do not fit together.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    run = RunOptions(
        out=Path(out or ""), overwrite=overwrite, resume=resume,
        model=None if model is None else str(model), device=device, temperature=temperature, solvent=solvent,
        force_field=tuple(force_field), inputs=inputs, seed=seed, processes=processes, scheduler=scheduler, wall=wall,
        begun=clock.monotonic() if begun is None else begun,
    )  # fmt: skip
    given: Given = {
        "time": _ps(time), "walkers": walkers, "save_every": _ps(save_every), "cycle": _ps(cycle),
        "burst": _ps(burst), "settle": settle, "scheduler": scheduler, "out": None if out is None else str(out),
    }  # fmt: skip
    return _run(Path(pdb), run, mode, given, progress or quiet)


def _run(pdb: Path, run: RunOptions, asked: str | None, given: Given, report: Progress) -> RunResult:
    if pdb.suffix == MODEL_FILE and run.model is None:
        with TemporaryDirectory() as folder:  # a model on the molecule in its own file
            inside = Path(folder) / f"{pdb.stem}.pdb"
            inside.write_text(read_manifest(pdb).topology, encoding="utf-8")
            return _run(inside, replace(run, model=str(pdb)), asked, given, report)
    refuse_force_field(pdb, run.inputs, run.force_field)
    mode, built = (asked, None) if asked else _chosen(pdb, run, given)
    way = way_of(mode)
    for name in way.unused:
        if given[name] is not None:
            chosen = f"--mode {mode}" + ("" if asked else ", which was chosen since none was given")
            fitting = " or ".join(", ".join(m for m in WAYS if name not in WAYS[m].unused).rsplit(", ", 1))
            option = name.replace("_", "-")
            raise ValueError(f"--{option} has no meaning with {chosen}; leave it out, or ask for --mode {fitting}")
    if mode == "chains" and not asked and run.wall is None:
        run = replace(run, wall=DEFAULT_WALL)
    if given["out"] is None:
        run = replace(run, out=Path(f"{pdb.stem}-{way.folder}"))
    return way.run(pdb, run, given, built, report)


def _moves_alone(model: str | None, given: Given) -> bool:
    """Whether a model is of a solute whose force field is not known, so that no MD can go on from its structures."""
    try:
        if model is None or is_peptides(model) or read_manifest(model).of_force_field:
            return False
    except BundleError:  # said where the model is read
        return False
    if given["settle"]:
        raise ValueError(f"--settle needs a force field, and that of the model {model} is not known; leave it out")
    return True


def _ps(value: str | float | None) -> float | None:
    return None if value is None else picoseconds(value)


def _walkers(run: RunOptions, mode: Mode, given: Given) -> WalkerOptions:
    """Options of walkers, with the defaults of `simulate` where nothing was given."""
    found = {_FIELDS.get(name, name): value for name, value in given.items() if name != "out" and value is not None}
    defaults: Given = {"time": _TIME, "interval": _SAVE_EVERY, "walkers": _WALKERS}
    endless = mode == "md" and given["time"] is None and run.wall is None
    shared = vars(replace(run, wall=DEFAULT_WALL if endless else run.wall))
    return WalkerOptions(
        **{**shared, **defaults, **found}, mode=mode, closer=mode == "md" and given["save_every"] is None
    )


def _chosen(pdb: Path, run: RunOptions, given: Given) -> tuple[Mode, Molecule | None]:
    """The mode that suits the molecule, and the molecule where it was built for that."""
    if _moves_alone(run.model, given):
        return "latent", None
    if run.model is not None or run.solvent == "explicit":
        return "model", None
    from latentmd.sampling.metropolis.run import unsuitable

    molecule = build(pdb, Protocol(run.solvent or "implicit", run.force_field, inputs=run.inputs))
    uncovered = _uncovered(pdb, run, molecule)
    trajectories = any(given[name] is not None for name in ("time", *_WALKERS_ONLY))
    chosen, reason = choose(uncovered, unsuitable(molecule) if uncovered else "", trajectories)
    if uncovered:
        logger.warning("%s", reason)
    return chosen, molecule


def _uncovered(pdb: Path, run: RunOptions, molecule: Molecule) -> str:
    """Why no bundled model is to simulate a molecule; empty where one is."""
    try:
        model = bundled_model(molecule, pdb, run.temperature)
    except UncoveredError as error:
        return error.reason
    if isinstance(model, ManyMolecules) and run.wall is not None:
        return f"{model.name} is a model of many peptides, and --wall asks for exact statistics of this one"
    return ""
