"""Inpainting: the dynamics of some residues drawn given that of the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np
import torch

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.core.paths.observed import ObservedPaths
from latentmd.io.progress import Progress
from latentmd.report import figures
from latentmd.report import page as report_page
from latentmd.report.markup import table
from latentmd.sampling.paths.batch import KINDS, failed_checks, torsions_of
from latentmd.sampling.paths.design import DesignTask, check_design
from latentmd.sampling.paths.fill import Filled, FillPart, FillPlan, FillRequest, FillResult, fill
from latentmd.sampling.paths.given import Given, read_given
from latentmd.sampling.paths.graft import Graft, Told, ToldSteps, known_atoms, laid_on_known, told_by
from latentmd.sampling.paths.moves import CellChain, cell_chain, moves_of
from latentmd.sampling.paths.plan import frames_of
from latentmd.sampling.paths.request import RunKeywords, subject_of
from latentmd.sampling.run.seeds import numbered_streams
from latentmd.units import format_time, percent

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

_PART = 200  # frames of one filter, about
_PARTICLES = 192
_TOLERANCE = 0.03  # nm, deviation of a decoded atom from a given one that counts as agreement
# The same of peptides whose steps are told torsions: fewer particles agree, since residues turn around more bonds.
_TOLD_PARTICLES, _TOLD_TOLERANCE = 256, 0.05


@dataclass(frozen=True, kw_only=True)
class InpaintPart(FillPart):
    """A stretch of the trajectory. Picklable.

    Attributes:
        chain: of the model's cells; None where `told` is not.
        given: structures, of which the known atoms count, nm, shape (frames, atoms, 3).
        known, heavy: atoms whose coordinates are given, all and heavy ones.
        steps, lag: latent steps between frames, and the length of one in ps.
        told: torsions that the given atoms tell, of a model that can be told them.
    """

    chain: CellChain | None
    given: Floats
    known: Ints
    heavy: Ints
    steps: int
    lag: float
    told: Told | None


def inpaint_part(part: InpaintPart) -> int:
    """Draw, decode, join and keep the frames of a part; returns their number."""
    propagator = part.frames.propagator()
    rng, generator, settling = numbered_streams(part.seed, part.number)
    given = laid_on_known(part.given.astype(np.float64), part.frames.reference[None], part.heavy)

    tolerance = _TOLERANCE if part.told is None else _TOLD_TOLERANCE

    def observe(z: torch.Tensor, t: int) -> tuple[torch.Tensor, Any]:
        x = laid_on_known(propagator.decode(z, rng), given[t][None], part.heavy)
        square = ((x[:, part.heavy] - given[t][part.heavy]) ** 2).sum(axis=(1, 2))
        return torch.from_numpy(-0.5 * square / tolerance**2).float(), x.__getitem__

    starts, filtered = _filter(part, propagator, rng, generator)
    drawn = filtered.sample(starts, observe, len(given), generator)
    graft = Graft(part.frames.molecule, part.known, part.frames.limits, settling)
    joined = [graft.join(np.array(x), y) for x, y in zip(drawn.carried, given, strict=True)]
    positions = np.stack([x for x, _ in joined])
    kinds = np.full(len(joined), KINDS.index("relaxed"), np.int8)
    sound = failed_checks(np.stack(drawn.carried), part.frames.template) == ""
    return part.keep(positions, kinds, np.array([energy for _, energy in joined]), sound)


def _filter(
    part: InpaintPart, propagator: Propagator, rng: np.random.Generator, generator: torch.Generator
) -> tuple[torch.Tensor, ObservedPaths]:
    """Particles of the first frame, and the filter that moves them on."""
    if part.told is not None:
        steps = ToldSteps(propagator.module, part.told, part.lag)
        return steps.starts(_TOLD_PARTICLES, generator), ObservedPaths(steps, part.steps, torch.ones(1), steps.arrive)
    chain = part.chain
    assert chain is not None
    moves, stationary = moves_of(propagator, chain.partition), torch.from_numpy(chain.stationary).float()
    starts = torch.from_numpy(chain.points[rng.choice(len(chain.weight), _PARTICLES, p=chain.weight)])
    return starts, ObservedPaths(moves.steps(part.lag), part.steps, stationary)


def inpaint(
    trajectory: str | Path,
    top: str | Path,
    residues: Sequence[int],
    *,
    design: bool = False,
    interval: str | float | None = None,
    **keywords: Unpack[RunKeywords],
) -> FillResult:
    """Draw the dynamics of some residues given that of the others.

    Args:
        trajectory: any file that mdtraj reads; coordinates of the named residues in it are not looked at.
        top: PDB file of its atoms.
        residues: numbers, as in the PDB file, of the residues to draw.
        design: also weigh which residues they might be; of a model bound from one of many peptides.
        interval: time between the frames, for formats without times.
        keywords: `model`, `seed`, `processes`, `out`, `overwrite`, `resume`, `inputs` and `progress`, as `RunKeywords`
            describes them.

    Raises:
        ValueError: a setting, a file or the model is wrong.
        OutputError: the folder cannot be used.
        RunError: the run failed.
        RunInterrupted: Ctrl-C.
    """
    numbers = tuple(sorted(residues))
    return fill(
        "inpaint",
        lambda request, report: _plan(request, numbers, design, report),
        (trajectory, top),
        interval,
        keywords,
    )


def _plan(request: FillRequest, residues: tuple[int, ...], design: bool, report: Progress) -> FillPlan:
    subject = subject_of((request.top,), request.model, request.inputs)
    hidden = hidden_residues(subject.molecule.topology, residues)
    known, heavy = known_atoms(subject.molecule.topology, hidden)
    if len(heavy) < 3:
        raise ValueError(f"{len(heavy)} heavy atoms are left to go by; name fewer residues with --residues")
    propagator = subject.propagator()
    if design:
        check_design(propagator, hidden)
    spec, frames = frames_of(subject)
    given = read_given(request.trajectory, subject.molecule.topology, request.interval)
    steps, lag = _split(given, subject.model.manifest.lag)
    chain, told = None, None
    if propagator.has_density:
        told = told_by(propagator, known, given.positions)
    else:
        chain = cell_chain(propagator)
    edges = np.linspace(0, len(given.positions), max(1, round(len(given.positions) / _PART)) + 1).astype(int).tolist()
    parts = [
        InpaintPart(
            frames=frames,
            chain=chain,
            given=given.positions[begin:end],
            known=known,
            heavy=heavy,
            steps=steps,
            lag=lag,
            told=None if told is None else told.part(begin, end),
            folder=request.out,
            number=number,
            seed=request.seed,
        )
        for number, (begin, end) in enumerate(pairwise(edges))
    ]
    record = {
        "command": "inpaint", "trajectory": sha256(given.positions.tobytes()).hexdigest(), "residues": list(residues),
        "design": design, "model": subject.model.sha256, "seed": request.seed,
        "protocol": asdict(subject.molecule.protocol),
    }  # fmt: skip
    before = torsions_of(given.positions.astype(np.float64), frames.torsions)
    touched = [
        (c, spec.names[c]) for c, quad in enumerate(frames.torsions) if not set(quad.tolist()) <= set(known.tolist())
    ]

    def describe(filled: Filled) -> tuple[dict[str, Any], list[report_page.Section], bytes]:
        found, sections, image = _describe(filled, (before, given.times), touched, residues)
        if not design:
            return found, sections, image
        missing = np.flatnonzero(hidden).tolist()
        task = DesignTask(propagator, missing, residues, known, given.positions, seed=request.seed)
        weighed, section = task.run(request.out, report)
        return {**found, **weighed}, [section, *sections], image

    return FillPlan(
        "inpaint", request, subject, parts, inpaint_part, times=given.times, record=record,
        describe=describe,
        title=f"Residues {', '.join(map(str, residues))} drawn in {len(given.positions):,} frames "
        f"{format_time(given.interval)} apart",
    )  # fmt: skip


def hidden_residues(topology: Any, residues: tuple[int, ...]) -> Bools:
    """Whether each residue is among those named, shape (residues,); ValueError where none, all or unknown ones are."""
    numbers = [int(residue.id) for residue in topology.residues()]
    there = ", ".join(f"{residue.id} {residue.name}" for residue in topology.residues())
    missing = sorted(set(residues) - set(numbers))
    if missing:
        raise ValueError(f"--residues {', '.join(map(str, missing))}: no such residue; the molecule has {there}")
    if not residues:
        raise ValueError(f"--residues names none, so that nothing is left to draw; the molecule has {there}")
    hidden = np.isin(numbers, residues)
    if hidden.all():
        raise ValueError("--residues names every residue, so that nothing is given; leave at least one out")
    return np.asarray(hidden)


def _split(given: Given, lags: tuple[float, float]) -> tuple[int, float]:
    from latentmd.model.lags import split_time

    try:
        return split_time(round(given.interval, 6), lags)
    except ValueError as error:
        raise ValueError(
            f"frames of {given.path} are {format_time(given.interval)} apart, which is no multiple of a step of the "
            f"model, {format_time(lags[0])} to {format_time(lags[1])}: take every n-th frame, and fill in the others "
            "afterwards with `latentmd upsample`"
        ) from error


def _describe(
    filled: Filled, before: tuple[Floats, Doubles], drawn: list[tuple[int, str]], residues: tuple[int, ...]
) -> tuple[dict[str, Any], list[report_page.Section], bytes]:
    angles, times = before
    turns = {name: np.abs(_turn(filled.torsions[:, c], angles[:, c])) for c, name in drawn}
    near = {name: float((np.degrees(turn) < 30).mean()) for name, turn in turns.items()}
    image = _picture(filled, before, drawn)
    rows = [(name, percent(share, 1)) for name, share in near.items()]
    text = "The file's own coordinates of these residues, which were not looked at, serve as comparison here."
    sections = [
        report_page.Section("Residues drawn", text, figures=[(image, "Orange: drawn. Grey: in the file.")]),
        report_page.Section("Frames within 30° of the file's", "", table(("torsion", "share of the frames"), rows)),
    ]
    interval = float(times[1] - times[0])
    return {"residues": list(residues), "frame_interval_ps": interval, "within_30_degrees": near}, sections, image


def _turn(a: Floats, b: Floats) -> Floats:
    return np.asarray((a - b + np.pi) % (2 * np.pi) - np.pi)


def _picture(filled: Filled, before: tuple[Floats, Doubles], drawn: list[tuple[int, str]]) -> bytes:
    angles, times = before
    count = max(1, min(3, len(drawn)))
    made, axes = figures.figure(count, 2, width=4.4, height=2.2)
    edges = np.linspace(-180, 180, 73).tolist()
    for row, (column, name) in enumerate(drawn[:count]):
        own, file = np.degrees(filled.torsions[:, column]), np.degrees(angles[:, column])
        axes[2 * row].plot(times, file, ".", ms=3, color=figures.REFERENCE)
        axes[2 * row].plot(times, own, ".", ms=2, color=figures.GENERATED)
        axes[2 * row].set(ylabel=f"{name} (degrees)", xlabel="time (ps)", ylim=(-180, 180))
        axes[2 * row + 1].hist(file, edges, density=True, alpha=0.3, color=figures.REFERENCE, label="in the file")
        axes[2 * row + 1].hist(own, edges, density=True, histtype="step", color=figures.GENERATED, label="drawn")
        axes[2 * row + 1].set(xlabel=f"{name} (degrees)", yticks=[])
    if drawn:
        axes[1].legend(frameon=False, fontsize=8)
    return figures.png(made)
