"""`simulate`: chooses how a molecule is sampled, refuses settings that have no meaning there, and runs it."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from latentmd.interpreter import own_part
from latentmd.io.progress import Progress, quiet
from latentmd.model.binding import bound_bundle
from latentmd.model.file import BundleError, read_manifest
from latentmd.model.peptide_file import is_peptides
from latentmd.molecule.chemistry import chemistry
from latentmd.sampling.models import ManyMolecules, UncoveredError, bundled_model, given_model
from latentmd.sampling.run.options import DEFAULT_WALL, OF_JUMPS, OF_WALKERS, Given, Mode, RunOptions, Way, picoseconds
from latentmd.sampling.run.stopping import RunResult
from latentmd.sampling.walkers.data_set import DataSetResult, make_data_set
from latentmd.sampling.walkers.simulate import simulate_plan, walker_options
from latentmd.systems.builder import Molecule, Solvent, build
from latentmd.systems.own_force_field import refuse_force_field
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions, Protocol
from latentmd.systems.sanity import in_nm

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

MODEL_FILE = ".pt"

logger = logging.getLogger(__name__)

#: The modes, by where their `Way` is. One of your own needs no entry: `--mode module:NAME`.
WAYS = {
    "model": "latentmd.sampling.walkers.simulate:MODEL",
    "latent": "latentmd.sampling.walkers.simulate:LATENT",
    "chains": "latentmd.sampling.metropolis.run:WAY",
    "bias": "latentmd.sampling.jumps.explicit_water:BIAS",
    "jumps": "latentmd.sampling.jumps.explicit_water:JUMPS",
    "md": "latentmd.sampling.walkers.simulate:MD",
}


def way_of(mode: str) -> Way:
    """The way of a mode, a name in `WAYS` or "module:NAME"; ValueError where there is none."""
    if mode not in WAYS and ":" not in mode:
        raise ValueError(f"--mode is {mode!r}; expected one of {', '.join(WAYS)}, or one of your own as module:NAME")
    return own_part(WAYS.get(mode, mode), Way, "mode")


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
    if x is None:
        raise ValueError("positions are missing: a model of many peptides reads from them which residues are L or D")
    return Propagator(bound_bundle(topology, x, name_or_path), device)


def simulate(
    pdb: str | Path, *, model: str | Path | None = None, mode: str | None = None,
    time: str | float | None = None, wall: float | None = None, walkers: int | None = None,
    save_every: str | float | None = None, cycle: str | float | None = None, burst: str | float | None = None,
    settle: bool | None = None, temperature: float | None = None, solvent: Solvent | None = None,
    force_field: Sequence[str] = (), seed: int = 0, device: str = "auto", processes: int | None = None,
    scheduler: str | None = None, compare: str | None = None, whole: bool | None = None,
    out: str | Path | None = None, overwrite: bool = False, resume: bool = False,
    inputs: InputOptions = DEFAULT_INPUTS, begun: float | None = None, progress: Progress | None = None,
) -> RunResult:  # fmt: skip
    """Simulate a molecule with a model and write full-atom trajectories.

    Args:
        pdb: the molecule.
        model: name of a bundled model or path of one; the bundled one that covers the molecule where None.
        mode: "model" (latent steps of the model and MD by turns), "latent" (latent steps only), "chains" (exact
            statistics of a small molecule, by Metropolis chains), "bias" (MD in explicit water with a bias on slow
            torsions, and weights), "jumps" (exact jumps of them, and MD, by turns), "md" (plain MD) or "module:NAME" (a
            `Way` of your own). Where None: model with a `model`, bias in explicit solvent (md for trajectories of a
            given length); else what `latentmd.sampling.sample.choose` says.
        time: per walker, 10 ns where None. Text with a unit, or ps. Not for chains.
        wall: budget of wall time in seconds for everything, over all sessions of the run; where None, 10 min for chains
            that the rule chose and plain MD without a `time`, 2 h in explicit water, and no limit otherwise.
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
        compare: bias and jumps: "md" for plain MD beside at equal cost.
        whole: bias and jumps: write the frames with their water too.
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
        "burst": _ps(burst), "settle": settle, "scheduler": scheduler, "compare": compare, "whole": whole,
        "out": None if out is None else str(out),
    }  # fmt: skip
    return _run(Path(pdb), run, mode, given, progress or quiet)


def simulate_data_set(
    files: Sequence[str | Path], *, out: str | Path, model: str | Path | None = None, mode: str | None = None,
    scheduler: str | None = None, progress: Progress | None = None, **options: Any,
) -> DataSetResult:  # fmt: skip
    """Simulate many molecules with a model, into one folder; one that cannot be simulated does not stop the others.

    Args:
        files: PDB, mmCIF or GRO files, and folders of them; a molecule is called by the stem of its file.
        out: folder of the data set.
        model: name or path of a model; for each molecule the bundled one that covers it where None.
        mode: "model", "latent" or "md"; where None "model", or "latent" with a model whose force field is not known.
        scheduler: address of a Dask scheduler whose workers see the same files and folders; this machine where None.
        progress: called with (stage, simulated ps, total ps) over all molecules.
        options: further ones of `simulate`, for each molecule. With `resume`, molecules that are done are kept, those
            begun go on, those that failed are tried again, and further ones may be given.

    Returns:
        The data set, with the molecules that failed.

    Raises:
        ValueError: a setting is wrong, there are no molecules, two of them have one name, or no scheduler answers.
        OutputError: the folder cannot be used.
        RunError: not one molecule could be simulated.
        RunInterrupted: Ctrl-C.
    """
    if any(options.pop(name, None) for name in OF_JUMPS):
        raise ValueError(
            "--compare and --whole are of --mode bias and jumps, which simulate one molecule; give one file"
        )
    given = {name: options.pop(name, None) for name in ("time", *OF_WALKERS)}
    given |= {name: _ps(given[name]) for name in ("time", "save_every", "cycle", "burst")}
    options["force_field"] = tuple(options.get("force_field", ()))
    run = RunOptions(out=Path(out), model=None if model is None else str(model), scheduler=scheduler, **options)
    mode = mode or ("latent" if _moves_alone(run.model, given) else "model")
    if mode not in ("model", "latent", "md"):
        way_of(mode)
        raise ValueError(f"--mode {mode} simulates one molecule; give one file, or --mode model, latent or md")
    settings = walker_options(run, cast("Mode", mode), given)
    head = {"mode": mode, "model": None if model is None else given_model(str(model)).name}
    conditions = {**head, **{name: given[name] for name in ("cycle", "burst", "settle")}}
    conditions |= {name: getattr(run, name) for name in ("temperature", "solvent", "force_field", "device")}
    conditions["inputs"] = asdict(run.inputs)
    return make_data_set(files, settings, simulate_plan, head=head, also=conditions, report=progress or quiet)


def _run(pdb: Path, run: RunOptions, asked: str | None, given: Given, report: Progress) -> RunResult:
    if pdb.suffix == MODEL_FILE and run.model is None:
        with TemporaryDirectory() as folder:  # a model on the molecule in its own file
            inside = Path(folder) / f"{pdb.stem}.pdb"
            inside.write_text(read_manifest(pdb).topology, encoding="utf-8")
            return _run(inside, replace(run, model=str(pdb)), asked, given, report)
    if run.force_field:
        refuse_force_field(pdb, run.inputs)
    mode, built = (asked, None) if asked else _chosen(pdb, run, given)
    way = way_of(mode)
    for name in way.unused:
        if given[name] is not None:
            chosen = f"--mode {mode}" + ("" if asked else ", which was chosen since none was given")
            fitting = " or ".join(", ".join(m for m in WAYS if name not in way_of(m).unused).rsplit(", ", 1))
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


def _chosen(pdb: Path, run: RunOptions, given: Given) -> tuple[Mode, Molecule | None]:
    """The mode that suits the molecule, and the molecule where it was built for that."""
    if _moves_alone(run.model, given):
        return "latent", None
    trajectories = any(given[name] is not None for name in ("time", *OF_WALKERS))
    if run.model is not None:
        return "model", None
    if run.solvent == "explicit":
        return "md" if trajectories else "bias", None
    from latentmd.sampling.metropolis.run import unsuitable

    molecule = build(pdb, Protocol(run.solvent or "implicit", run.force_field, inputs=run.inputs))
    uncovered = ""  # why no bundled model is to simulate it
    try:
        model = bundled_model(molecule, pdb, run.temperature)
        if isinstance(model, ManyMolecules) and run.wall is not None:
            uncovered = f"{model.name} is a model of many peptides, and --wall asks for exact statistics of this one"
    except UncoveredError as error:
        uncovered = error.reason
    chosen, reason = choose(uncovered, unsuitable(molecule) if uncovered else "", trajectories)
    if uncovered:
        logger.warning("%s", reason)
    return chosen, molecule
