"""Plan of a run of paths: everything checked, nothing written yet."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass

import numpy as np
import torch

from latentmd.analysis.bridge import MarkovBridge, markov_bridge
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.core.paths.steps import Steps
from latentmd.model.manifest import split_time
from latentmd.model.propagator import Propagator
from latentmd.sampling.paths.moves import CellChain, bridge_to, cell_chain, check_reach, steps_of
from latentmd.sampling.paths.request import PathsRequest, Subject, subject_of
from latentmd.units import format_time, percent

_STARTS = 2000  # points that stand for a state where paths begin


@dataclass(frozen=True)
class End:
    """One end of the paths: its cells, and their state from 0; of a structure [atoms, 3] in nm the slow axes, too."""

    name: str
    cells: Ints
    state: int
    point: Floats | None = None
    structure: Doubles | None = None


@dataclass(frozen=True)
class PathPlan:
    """A run of paths, checked. Picklable."""

    request: PathsRequest
    subject: Subject
    chain: CellChain
    labels: tuple[str, ...]  # where each state lies
    ends: tuple[End, End]
    lag: float  # of a latent step, ps
    every: int  # latent steps between frames
    bridge: MarkovBridge  # chain of cells at that lag, conditioned on the end
    guide: MarkovBridge  # the same at the frame interval
    log_reach: float  # ln of the probability of the end's cells from the start, by the chain
    starts: Floats  # slow axes of where paths may begin, one or many equally likely ones, shape (starts, tokens, k)

    def record(self) -> dict[str, object]:
        """JSON values that a resumed run must share."""
        r, molecule = self.request, self.subject.molecule
        structures = b"".join(np.round(x, 6).tobytes() for x in self.subject.structures)
        atoms = [(atom.name, atom.residue.name, atom.residue.index) for atom in molecule.topology.atoms()]
        given, model = hashlib.sha256(repr(atoms).encode() + structures).hexdigest(), self.subject.model.sha256
        head = {"command": "paths", "molecule": given, "model": model, "protocol": asdict(molecule.protocol)}
        ends = {"from": r.origin, "to": r.target, "time": r.time, "every": r.interval}
        return {**head, **ends, "count": r.count, "seed": r.seed}


def make_plan(request: PathsRequest) -> PathPlan:
    """Check a request and condition the model on it; ValueError where something is wrong or ends are not connected."""
    subject = subject_of(request.pdbs, request.model, request.inputs)
    every, lag = _split(request, subject.manifest.lag)
    propagator = subject.propagator()
    chain = cell_chain(propagator)
    steps = steps_of(propagator, chain.partition, lag)
    labels = tuple(_place(subject, propagator, chain, state) for state in range(len(chain.populations)))
    first, last = _ends(request, subject, steps, chain, labels)
    bridge = bridge_to(steps, chain, last.cells, every * request.frames)
    coarse = np.linalg.matrix_power(bridge.matrix, every)
    guide = markov_bridge(coarse / coarse.sum(axis=1, keepdims=True), bridge.h[-1], request.frames)
    weight = chain.stationary[first.cells] / chain.stationary[first.cells].sum()
    terms = [np.log(w) + bridge.log_reach(int(c)) for w, c in zip(weight, first.cells, strict=True) if w > 0]
    log_reach = float(np.logaddexp.reduce(terms))
    check_reach(log_reach, f"{first.name} and {last.name}", format_time(request.time))
    rng = np.random.default_rng(request.seed)
    starts = chain.draw(first.state, _STARTS, rng) if first.point is None else first.point[None]
    return PathPlan(
        request, subject, chain, labels, (first, last), lag=lag, every=every, bridge=bridge, guide=guide,
        log_reach=log_reach, starts=starts.astype(np.float32),
    )  # fmt: skip


def _split(r: PathsRequest, lags: tuple[float, float]) -> tuple[int, float]:
    """Latent steps between frames, and their lag in ps."""
    try:
        return split_time(r.interval, lags)
    except ValueError as error:
        raise ValueError(
            f"--every is {format_time(r.interval)}; the model's steps are {format_time(lags[0])} to "
            f"{format_time(lags[1])}: expected a multiple of a step in that range; `latentmd upsample` fills in finer "
            "frames afterwards"
        ) from error


def _place(subject: Subject, propagator: Propagator, chain: CellChain, state: int) -> str:
    """Mean torsions of a state in degrees, in words; empty for a molecule without torsions."""
    spec, rng = subject.spec, np.random.default_rng(0)
    if spec.kind != "torsions":
        return ""
    angles = spec.values(propagator.decode(torch.from_numpy(chain.draw(state, 200, rng)), rng))
    columns = [c for pair in spec.pairs for c in pair][:4] or list(range(min(4, len(spec.names))))
    mean = np.degrees(np.angle(np.exp(1j * angles[:, columns]).mean(axis=0)))
    return ", ".join(f"{spec.names[c]} {value:.0f}°" for c, value in zip(columns, mean, strict=True))


def _ends(
    r: PathsRequest, subject: Subject, steps: Steps, chain: CellChain, labels: tuple[str, ...]
) -> tuple[End, End]:
    given = [_structure(subject, steps, chain, place) for place in range(len(subject.structures))]
    if len(given) == 2:
        if r.origin is not None or r.target is not None:
            raise ValueError("two PDB files are both ends already; leave out --from and --to")
        return given[0], given[1]
    if given and r.origin is not None:
        raise ValueError("the PDB file is where the paths begin already; leave out --from")
    first = given[0] if given else _state(r.origin, "--from", chain, labels)
    last = _state(r.target, "--to", chain, labels)
    if not given and first.state == last.state:
        raise ValueError(f"--from and --to are both state {last.state + 1}; give two states\n{listed(chain, labels)}")
    return first, last


def _structure(subject: Subject, steps: Steps, chain: CellChain, place: int) -> End:
    """A structure as end; the last one is its cell where the model has no density, so that no point can be reached."""
    x, propagator = subject.structures[place], subject.propagator()
    slow = propagator.encode(x[None])
    cell = int(steps.cell(slow)[0])
    if place == 1 and propagator.mixture is None and not propagator.has_density:
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
