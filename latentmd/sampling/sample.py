"""`simulate`: chooses how a molecule is sampled, refuses settings that have no meaning there, and runs it."""

from __future__ import annotations

import logging
import time as clock
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from latentmd.io.progress import Progress, quiet
from latentmd.sampling.force_fields import refuse_force_field
from latentmd.sampling.metropolis.chains import chains
from latentmd.sampling.metropolis.settings import ChainsRequest, ChainsResult
from latentmd.sampling.request import MODES, Mode, RolloutSettings, picoseconds
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator
    from latentmd.sampling.rollout.run import RunResult
    from latentmd.systems.builder import Molecule, Solvent

Way = Literal["model", "chains", "md"]

#: Wall time of exact chains where the user names none, seconds.
DEFAULT_WALL = 600.0


@dataclass(frozen=True)
class Facts:
    """What the rule looks at.

    Attributes:
        uncovered: why no bundled model of one molecule covers this one; empty where one does.
        unsuitable: what keeps exact chains from sampling it, as the end of a sentence; empty where nothing does.
        trajectories: whether times along a trajectory were asked for: a length, walkers, an interval between frames.
    """

    uncovered: str
    unsuitable: str
    trajectories: bool = False


def choose(facts: Facts) -> tuple[Way, str]:
    """How to simulate, and one line that says why.

    A model of the molecule comes first, and plain MD where trajectories are wanted and there is none. Otherwise exact
    chains, whose statistics need no faith in any model, and plain MD for molecules that these cannot sample.

    Args:
        facts: about molecule and request.

    Example:
        >>> choose(Facts(uncovered="", unsuitable=""))
        ('model', 'a bundled model of this molecule')
    """
    if not facts.uncovered:
        return "model", "a bundled model of this molecule"
    if facts.trajectories:
        return "md", f"{facts.uncovered}; plain MD, since trajectories were asked for"
    if not facts.unsuitable:
        return "chains", f"{facts.uncovered}; exact chains, beside plain MD at a tenth of the cost"
    reason = f"{facts.uncovered}, and exact chains do not suit: the method {facts.unsuitable}"
    return "md", f"{reason}; plain MD"


logger = logging.getLogger(__name__)

_WALKERS, _TIME, _SAVE_EVERY, _BURST = 16, 10_000.0, 100.0, 2.0  # defaults of walkers; times in ps
_WALKERS_ONLY = ("walkers", "save_every", "cycle", "burst", "settle")
_CHAINS_ONLY = ("scheduler",)
_RENAMED = {
    "alternate": "it is now --mode model",
    "hybrid": "bursts are gone, and exact chains are --mode chains",
}


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
    from latentmd.model.peptide_file import is_peptides
    from latentmd.model.propagator import Propagator
    from latentmd.molecule.chemistry import chemistry
    from latentmd.systems.sanity import in_nm

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


@dataclass(frozen=True)
class Options:
    """Options of `simulate`, which documents them; None where not given, times in ps."""

    pdb: Path
    model: str | None
    mode: Mode | None
    time: float | None
    wall: float | None
    walkers: int | None
    save_every: float | None
    cycle: float | None
    burst: float | None
    settle: bool | None
    temperature: float | None
    solvent: Solvent | None
    force_field: tuple[str, ...]
    seed: int
    device: str
    processes: int | None
    scheduler: str | None
    out: Path | None
    overwrite: bool
    resume: bool
    inputs: InputOptions
    begun: float


def simulate(
    pdb: str | Path, *, model: str | Path | None = None, mode: Mode | None = None,
    time: str | float | None = None, wall: float | None = None, walkers: int | None = None,
    save_every: str | float | None = None, cycle: str | float | None = None, burst: str | float | None = None,
    settle: bool | None = None, temperature: float | None = None, solvent: Solvent | None = None,
    force_field: Sequence[str] = (), seed: int = 0, device: str = "auto", processes: int | None = None,
    scheduler: str | None = None,
    out: str | Path | None = None, overwrite: bool = False, resume: bool = False,
    inputs: InputOptions = DEFAULT_INPUTS, begun: float | None = None, progress: Progress | None = None,
) -> RunResult | ChainsResult:  # fmt: skip
    """Simulate a molecule with a model and write full-atom trajectories.

    Args:
        pdb: the molecule.
        model: name of a bundled model or path of one; the bundled one that covers the molecule where None.
        mode: "model" (latent steps of the model and MD by turns), "latent" (latent steps only), "chains" (exact
            statistics of a small molecule, by Metropolis chains) or "md" (plain MD). Where None: model with a `model`
            or in explicit solvent; else what `latentmd.sampling.sample.choose` says.
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
    options = Options(
        pdb=Path(pdb), model=None if model is None else str(model), mode=mode, time=_ps(time), wall=wall,
        walkers=walkers, save_every=_ps(save_every), cycle=_ps(cycle), burst=_ps(burst), settle=settle,
        temperature=temperature, solvent=solvent, force_field=tuple(force_field), seed=seed, device=device,
        processes=processes, scheduler=scheduler, out=None if out is None else Path(out), overwrite=overwrite,
        resume=resume, inputs=inputs, begun=clock.monotonic() if begun is None else begun,
    )  # fmt: skip
    return _run(options, progress or quiet)


def _ps(value: str | float | None) -> float | None:
    return None if value is None else picoseconds(value)


def _run(o: Options, report: Progress) -> RunResult | ChainsResult:
    refuse_force_field(o.pdb, o.inputs, o.force_field)
    mode, built = _choose(o)
    if mode == "chains":
        _refuse(o, ("time", *_WALKERS_ONLY), mode)
        return chains(o.pdb, _chains_request(o), built, report)
    _refuse(o, _CHAINS_ONLY if mode != "md" else (*_CHAINS_ONLY, "settle"), mode)
    from latentmd.sampling.rollout.run import execute
    from latentmd.sampling.rollout.simulate import simulate_plan

    return execute(simulate_plan(o.pdb, _rollout_settings(o, mode), built), report)


def _chains_request(o: Options) -> ChainsRequest:
    return ChainsRequest(
        out=o.out or Path(f"{o.pdb.stem}-chains"),
        wall=DEFAULT_WALL if o.wall is None and o.mode is None else o.wall,
        seed=o.seed,
        model=o.model,
        device="cpu" if o.device == "auto" else o.device,
        temperature=o.temperature,
        solvent=o.solvent,
        force_field=o.force_field,
        scheduler=o.scheduler,
        processes=o.processes,
        resume=o.resume,
        overwrite=o.overwrite,
        inputs=o.inputs,
        begun=o.begun,
    )


def _rollout_settings(o: Options, mode: Mode) -> RolloutSettings:
    return RolloutSettings(
        mode=mode,
        time=_TIME if o.time is None else o.time,
        interval=_SAVE_EVERY if o.save_every is None else o.save_every,
        walkers=_WALKERS if o.walkers is None else o.walkers,
        seed=o.seed,
        processes=o.processes,
        out=o.out or Path(f"{o.pdb.stem}-latentmd"),
        overwrite=o.overwrite,
        resume=o.resume,
        model=o.model,
        device=o.device,
        temperature=o.temperature,
        solvent=o.solvent,
        force_field=o.force_field,
        cycle=o.cycle,
        burst=_BURST if o.burst is None else o.burst,
        settle=o.settle is not False,
        inputs=o.inputs,
        wall=DEFAULT_WALL if mode == "md" and o.time is None and o.wall is None else o.wall,
        begun=o.begun,
        closer=mode == "md" and o.save_every is None,
    )


def _choose(o: Options) -> tuple[Mode, Molecule | None]:
    """The mode asked for or the one that suits the molecule, and the molecule where it was built for that."""
    if o.mode in _RENAMED:
        raise ValueError(f"--mode is {o.mode!r}: {_RENAMED[o.mode]}")
    if o.mode is not None and o.mode not in MODES:
        raise ValueError(f"--mode is {o.mode!r}; expected one of {', '.join(MODES)}")
    if o.mode is not None:
        return o.mode, None
    if o.model is not None or o.solvent == "explicit":
        return "model", None
    from latentmd.systems.builder import Protocol, build

    molecule = build(o.pdb, Protocol(o.solvent or "implicit", o.force_field, inputs=o.inputs))
    facts = _facts(o, molecule)
    mode, reason = choose(facts)
    if facts.uncovered:
        logger.warning("%s", reason)
    return mode, molecule


def _facts(o: Options, molecule: Molecule) -> Facts:
    """What the rule looks at."""
    from latentmd.sampling.metropolis.run import unsuitable
    from latentmd.sampling.models import ManyMolecules, UncoveredError, bundled_model

    trajectories = any(getattr(o, name) is not None for name in ("time", *_WALKERS_ONLY))
    try:
        model = bundled_model(molecule, o.pdb, o.temperature)
    except UncoveredError as error:
        return Facts(error.reason, unsuitable(molecule), trajectories=trajectories)
    if isinstance(model, ManyMolecules) and o.wall is not None:
        reason = f"{model.name} is a model of many peptides, and --wall asks for exact statistics of this one"
        return Facts(reason, unsuitable(molecule), trajectories=trajectories)
    return Facts("", "", trajectories=trajectories)


def _refuse(o: Options, unused: Sequence[str], mode: str) -> None:
    """Refuse settings that a mode has no use for."""
    chosen = f"--mode {mode}" if o.mode is not None else f"--mode {mode}, which was chosen since none was given"
    for name in unused:
        if getattr(o, name) is not None:
            fitting = (
                "--mode chains" if name in _CHAINS_ONLY else f"--mode model{' or' if mode == 'md' else ','} latent"
            )
            fitting += "" if name in _CHAINS_ONLY or mode == "md" else " or md"
            option = name.replace("_", "-")
            raise ValueError(f"--{option} has no meaning with {chosen}; leave it out, or ask for {fitting}")
