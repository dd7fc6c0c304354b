"""Plan of a run of paths: everything checked, nothing written yet."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.analysis.bridge import MarkovBridge, markov_bridge
from latentmd.analysis.features import FeatureSpec
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.sampling.paths.batch import Bridge, PathFrames
from latentmd.sampling.paths.moves import CellChain, Moves, bridge_to, cell_chain, check_reach, moves_of
from latentmd.sampling.paths.request import PathsRequest, Subject, subject_of
from latentmd.units import format_time, percent

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_STARTS = 2000  # points that stand for a state where paths begin


@dataclass(frozen=True)
class End:
    """One end of the paths: its cells and their state from 0, and, where it is a structure, the structure [atoms, 3]
    in nm and its slow axes [tokens, k].
    """

    name: str
    cells: Ints
    state: int
    point: Floats | None = None
    structure: Doubles | None = None


@dataclass(frozen=True)
class PathPlan:
    """A run of paths, checked.

    Attributes:
        guide: chain of cells at the frame interval, conditioned on the end.
        log_reach: ln of the probability of the end's cells from the start, by the chain.
        labels: where each state lies.
        equilibrium: torsions [frames, torsions] of the model's equilibrium where its file has no surfaces, radians.
    """

    request: PathsRequest
    subject: Subject
    chain: CellChain
    spec: FeatureSpec
    ends: tuple[End, End]
    guide: MarkovBridge
    log_reach: float
    frames: PathFrames
    bridge: Bridge
    labels: tuple[str, ...]
    equilibrium: Floats

    def record(self) -> dict[str, Any]:
        """JSON values that a resumed run must share."""
        r, molecule = self.request, self.subject.molecule
        structures = b"".join(np.round(x, 6).tobytes() for x in self.subject.structures)
        atoms = [(atom.name, atom.residue.name, atom.residue.index) for atom in molecule.topology.atoms()]
        return {
            "command": "paths", "molecule": hashlib.sha256(repr(atoms).encode() + structures).hexdigest(),
            "model": self.subject.model.sha256, "protocol": asdict(molecule.protocol), "from": r.origin,
            "to": r.target, "time": r.time, "every": r.interval, "count": r.count, "seed": r.seed,
        }  # fmt: skip


def make_plan(request: PathsRequest) -> PathPlan:
    """Check a request and condition the model on it; ValueError where a setting, a file or the model is wrong, or
    the model does not connect the ends in that time.
    """
    if len(request.pdbs) > 2:
        raise ValueError(f"{len(request.pdbs)} PDB files; expected two, one with --to, or none with --from and --to")
    _check_times(request)
    subject = subject_of(request.pdbs, request.model, request.inputs)
    steps, lag = _split(request, subject)
    propagator = subject.propagator()
    chain = cell_chain(propagator)
    moves = moves_of(propagator, chain.partition)
    spec, frames = frames_of(subject)
    labels = tuple(_place(propagator, chain, spec, state) for state in range(len(chain.populations)))
    ends = _ends(request, subject, (propagator, moves), chain, labels)
    fine = bridge_to(moves, chain, ends[1].cells, lag, steps * request.frames)
    coarse = np.linalg.matrix_power(fine.matrix, steps)
    guide = markov_bridge(coarse / coarse.sum(axis=1, keepdims=True), fine.h[-1], request.frames)
    log_reach = _reach(fine, chain, ends[0])
    check_reach(log_reach, f"{ends[0].name} and {ends[1].name}", format_time(request.time))
    rng = np.random.default_rng(request.seed)
    starts = ends[0].point[None] if ends[0].point is not None else chain.draw(ends[0].state, _STARTS, rng)
    bridge = Bridge(
        fine.h, lag, steps, request.interval, starts.astype(np.float32), end=ends[1].point,
        ends=(ends[0].structure, ends[1].structure), partition=chain.partition,
    )  # fmt: skip
    return PathPlan(
        request, subject, chain, spec, ends, guide=guide, log_reach=log_reach, frames=frames, bridge=bridge,
        labels=labels, equilibrium=_equilibrium(propagator, chain, spec),
    )  # fmt: skip


def _check_times(r: PathsRequest) -> None:
    if r.count < 1:
        raise ValueError(f"--count is {r.count}; expected at least 1")
    if r.frames < 1 or abs(r.frames * r.interval - r.time) > 1e-6 * r.interval:
        fitting = format_time(r.interval * max(1, r.frames))
        raise ValueError(
            f"--time is {format_time(r.time)}; expected a multiple of --every, {format_time(r.interval)}: try {fitting}"
        )


def _split(r: PathsRequest, subject: Subject) -> tuple[int, float]:
    """Latent steps between frames, and their lag in ps."""
    from latentmd.model.lags import split_time

    lags = subject.model.manifest.lag
    try:
        return split_time(r.interval, lags)
    except ValueError as error:
        raise ValueError(
            f"--every is {format_time(r.interval)}; the model's steps are {format_time(lags[0])} to "
            f"{format_time(lags[1])}: expected a multiple of a step in that range; `latentmd upsample` fills in finer "
            "frames afterwards"
        ) from error


def frames_of(subject: Subject) -> tuple[FeatureSpec, PathFrames]:
    """Torsions of the molecule, and what every worker needs to know about its structures."""
    import mdtraj

    from latentmd.analysis.features import feature_spec
    from latentmd.molecule.checks import structure_template

    topology = mdtraj.Topology.from_openmm(subject.molecule.topology)
    spec = feature_spec(topology)
    quads = spec.indices if spec.kind == "torsions" else np.zeros((0, 4), dtype=np.int64)
    template = structure_template(*subject.propagator().molecule())
    return spec, PathFrames(
        subject.molecule, subject.model.name, subject.reference, subject.limits, template=template, torsions=quads
    )


def _place(propagator: Propagator, chain: CellChain, spec: FeatureSpec, state: int) -> str:
    """Mean torsions of a state in degrees, in words; empty for a molecule without torsions."""
    import torch

    if spec.kind != "torsions":
        return ""
    rng = np.random.default_rng(0)
    drawn = propagator.decode(torch.from_numpy(chain.draw(state, 200, rng)), rng)
    angles = spec.values(drawn)
    columns = [c for pair in spec.pairs for c in pair][:4] or list(range(min(4, len(spec.names))))
    mean = np.degrees(np.angle(np.exp(1j * angles[:, columns]).mean(axis=0)))
    return ", ".join(f"{spec.names[c]} {value:.0f}°" for c, value in zip(columns, mean, strict=True))


def _equilibrium(propagator: Propagator, chain: CellChain, spec: FeatureSpec) -> Floats:
    """Torsions of structures of the chain's equilibrium, for a model whose file has no surfaces."""
    import torch

    if spec.kind != "torsions" or propagator.manifest.reference.ramachandran:
        return np.zeros((0, len(spec.names)), dtype=np.float32)
    rng = np.random.default_rng(0)
    drawn = chain.points[rng.choice(len(chain.weight), _STARTS, p=chain.weight)]
    return spec.values(propagator.decode(torch.from_numpy(drawn), rng))


def _ends(
    r: PathsRequest, subject: Subject, model: tuple[Propagator, Moves], chain: CellChain, labels: tuple[str, ...]
) -> tuple[End, End]:
    given = len(subject.structures)
    if given == 2:
        if r.origin is not None or r.target is not None:
            raise ValueError("two PDB files are both ends already; leave out --from and --to")
        return _structure(subject, model, chain, 0), _structure(subject, model, chain, 1)
    if given == 1 and r.origin is not None:
        raise ValueError("the PDB file is where the paths begin already; leave out --from")
    first = _structure(subject, model, chain, 0) if given else _state(r.origin, "--from", chain, labels)
    last = _state(r.target, "--to", chain, labels)
    if first.point is None and first.state == last.state:
        raise ValueError(f"--from and --to are both state {last.state + 1}; give two states\n{listed(chain, labels)}")
    return first, last


def _structure(subject: Subject, model: tuple[Propagator, Moves], chain: CellChain, place: int) -> End:
    """A structure as end; the last one is its cell where the model cannot be pinned to a point."""
    propagator, moves = model
    x = subject.structures[place]
    slow = propagator.encode(x[None])
    cell = int(moves.cell(slow)[0])
    if place == 1 and not moves.to_points:
        return End("the cell of B", np.array([cell]), int(chain.states[cell]))
    return End("AB"[place], np.array([cell]), int(chain.states[cell]), slow[0].cpu().numpy(), x)


def _state(number: int | None, option: str, chain: CellChain, labels: tuple[str, ...]) -> End:
    count = len(chain.populations)
    if number is None or not 1 <= number <= count:
        found = f"{option} is missing" if number is None else f"{option} is {number}"
        raise ValueError(
            f"{found}; expected a PDB file, or a state of the model from 1 to {count}\n{listed(chain, labels)}"
        )
    return End(f"state {number}", chain.members(number - 1), number - 1)


def listed(chain: CellChain, labels: tuple[str, ...]) -> str:
    """The states of a model, one a line."""
    rows = zip(chain.populations, labels, strict=True)
    return "\n".join(f"  state {i + 1}: {percent(share, 1)}, {label}" for i, (share, label) in enumerate(rows))


def _reach(bridge: MarkovBridge, chain: CellChain, start: End) -> float:
    """ln of the probability of the end from the cells of the start, weighted as they are in equilibrium."""
    weight = chain.stationary[start.cells] / chain.stationary[start.cells].sum()
    terms = [np.log(w) + bridge.log_reach(int(c)) for w, c in zip(weight, start.cells, strict=True) if w > 0]
    return float(np.logaddexp.reduce(terms))
