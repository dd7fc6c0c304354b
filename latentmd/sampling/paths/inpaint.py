"""Inpainting: the dynamics of some residues drawn given that of the others, and joined to them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Unpack

import numpy as np
import openmm
import torch
from openmm import app
from torch import Tensor

from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.core.paths.filters import ObservedPaths, systematic
from latentmd.core.paths.steps import FreeSteps
from latentmd.io.progress import Progress, quiet
from latentmd.model.manifest import split_time
from latentmd.model.propagator import Propagator
from latentmd.molecule.chain import chain, known_torsions
from latentmd.molecule.checks import StructureTemplate
from latentmd.molecule.geometry import superposed
from latentmd.report import figures
from latentmd.report import page as report_page
from latentmd.report.markup import table
from latentmd.sampling.paths.decoded import KINDS, DecodedFrames, failed_checks
from latentmd.sampling.paths.design import check_design, design_section, weigh, write_design
from latentmd.sampling.paths.fill import Filled, FillPart, FillPlan, FillRequest, FillResult, Given, fill
from latentmd.sampling.paths.moves import CellChain, cell_chain, steps_of
from latentmd.sampling.paths.relax import bonded_system
from latentmd.sampling.paths.request import RunKeywords, subject_of
from latentmd.sampling.run.seeds import numbered_streams
from latentmd.systems.builder import Molecule
from latentmd.units import format_time, percent

_STARTS = 8  # draws for each particle that the first frame is started with


class ToldSteps(FreeSteps):
    """Steps of a bound peptide that agree with the torsions which the known atoms of each frame determine."""

    def __init__(self, propagator: Propagator, known: Ints, given: Floats, lag: float) -> None:
        """Positions given [frames, atoms, 3] in nm, of which the known atoms count; lag in ps."""
        super().__init__(propagator.module, lambda z: torch.zeros(len(z), dtype=torch.long), lag)
        self.module, (topology, own) = propagator.module, propagator.molecule()
        hand = self.module.hand.numpy()
        which = known_torsions(chain(topology, own * hand), known)
        self.angles, self.known = torch.from_numpy(which.measure(given * hand)), torch.from_numpy(which.known)

    @torch.no_grad()
    def starts(self, count: int, generator: torch.Generator) -> Tensor:
        """Draws from equilibrium given the known torsions of the first frame, [count, tokens, axes]."""
        nothing = torch.zeros(_STARTS * count, *self.module.types.shape[1:2], int(self.module.axes))
        z, weight = self._told(nothing, 0, np.inf, generator)
        return z[systematic(torch.softmax(weight.double(), dim=0), count, generator)]

    def arrive(self, z: Tensor, t: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Step particles [particles, tokens, axes] to frame t; returns z' and the ln of the weight of each."""
        return self._told(z, t, self.time, generator)

    def _told(self, z: Tensor, t: int, lag: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        noise = torch.randn(len(z), int(self.module.torsion_noise), generator=generator)
        lags = torch.full((len(z),), lag)
        drawn: tuple[Tensor, Tensor] = self.module.told_step(z, lags, noise, self.angles[t], self.known)
        return drawn


_ITERATIONS = (30, 200, 0)  # of the minimiser, which heals the joints: more where dynamics goes wrong; 0 has no limit
_SETTLE, _TIMESTEP = 0.2, 0.002  # ps of Langevin dynamics, and of one step of it
_FRICTION = 10.0  # 1/ps, at which torsions reach their width in that time


class Graft:
    """Joins generated structures to given coordinates of some atoms, which do not move.

    A generated structure lies on the given atoms within some hundredths of a nanometre. Where it is put beside them its
    joints are strained, and torsions are off by some ten degrees. The joints are minimised, then the generated atoms
    take 0.2 ps of Langevin dynamics with the given ones held: a step of the conditional distribution of the force
    field, so that what the model is not sharp enough to tell comes from there. `limits`: median and upper limit of MD's
    potential energy, kJ/mol, where they are known. A `template` stands in for a force field that is not known: joints
    are minimised in its bonds and angles, without dynamics and energies.
    """

    def __init__(
        self, molecule: Molecule, known: Ints, limits: tuple[float, float] | None, seed: int,
        template: StructureTemplate | None = None,
    ) -> None:  # fmt: skip
        self.known, self.temperature, self.template = known, molecule.protocol.temperature, template
        if template is not None:
            masses = np.array([atom.element.mass._value for atom in molecule.topology.atoms()])
            molecule = replace(molecule, system=bonded_system(template, masses, self.temperature))
        self.limit = np.inf if limits is None else limits[1]
        self._context = _held(molecule, known, seed)
        self._seeds = np.random.default_rng(seed)

    def join(self, generated: Doubles, given: Doubles) -> tuple[Doubles, float]:
        """Positions [atoms, 3] in nm and energy in kJ/mol of one frame, of given ones by the known atoms."""
        whole = laid_on_known(generated[None], given[None], self.known)[0]
        whole[self.known] = given[self.known]
        best = whole, np.inf
        if self.template is not None:
            self._context.setPositions(whole)
            openmm.LocalEnergyMinimizer.minimize(self._context)
            return self._state()[0], np.nan
        for iterations in _ITERATIONS:
            self._context.setPositions(whole)
            openmm.LocalEnergyMinimizer.minimize(self._context, maxIterations=iterations)
            rest = self._state()
            with contextlib.suppress(openmm.OpenMMException):  # coordinates that are not numbers
                self._context.setVelocitiesToTemperature(self.temperature, int(self._seeds.integers(1, 2**31)))
                self._context.getIntegrator().step(round(_SETTLE / _TIMESTEP))
                best = min(best, self._state(), key=lambda found: found[1])
            if best[1] <= self.limit and np.isfinite(best[1]):
                return best
        return min(best, rest, key=lambda found: found[1])

    def _state(self) -> tuple[Doubles, float]:
        """Positions, and the potential energy; infinite where either is not a number."""
        state = self._context.getState(positions=True, energy=True)
        x = np.asarray(state.getPositions(asNumpy=True)._value, dtype=np.float64)
        energy = float(state.getPotentialEnergy()._value)
        return x, energy if np.isfinite(energy) and np.isfinite(x).all() else np.inf


def laid_on_known(generated: Doubles, given: Floats, known: Ints) -> Doubles:
    """Structures moved as a whole so that the known atoms lie best on the given ones; nm, shape (frames, atoms, 3)."""
    weights = np.zeros(generated.shape[1])
    weights[known] = 1.0
    return superposed(generated, given, weights)


def known_atoms(topology: app.Topology, hidden: Bools) -> tuple[Ints, Ints]:
    """Atoms of an OpenMM topology outside the hidden residues: all of them, and the heavy ones."""
    atoms = [atom for atom in topology.atoms() if not hidden[atom.residue.index]]
    heavy = [atom.index for atom in atoms if atom.element is not None and atom.element.symbol != "H"]
    return np.array([atom.index for atom in atoms], dtype=np.int64), np.array(heavy, dtype=np.int64)


def _held(molecule: Molecule, known: Ints, seed: int) -> openmm.Context:
    """A Context in which the known atoms have no mass, so that nothing moves them."""
    system, fixed = copy.deepcopy(molecule.system), set(known.tolist())
    for index in range(system.getNumConstraints() - 1, -1, -1):
        i, j, _ = system.getConstraintParameters(index)
        if i in fixed or j in fixed:
            system.removeConstraint(index)
    for atom in fixed:
        system.setParticleMass(atom, 0.0)
    integrator = openmm.LangevinMiddleIntegrator(molecule.protocol.temperature, _FRICTION, _TIMESTEP)
    integrator.setRandomNumberSeed(seed % 2**31 or 1)  # 0 would be a seed of OpenMM's own choice
    return openmm.Context(system, integrator, openmm.Platform.getPlatformByName("Reference"))


_PART = 200  # frames of one filter, about
_PARTICLES = 192
_TOLERANCE = 0.03  # nm, deviation of a decoded atom from a given one that counts as agreement
# The same of peptides whose steps are told torsions: fewer particles agree, since residues turn around more bonds.
_TOLD_PARTICLES, _TOLD_TOLERANCE = 256, 0.05


@dataclass(frozen=True, kw_only=True)
class InpaintPart(FillPart):
    """A stretch of the trajectory: structures whose known atoms (heavy ones among them) are given, latent steps between
    frames, and the model's chain of cells; None for a model whose steps are told torsions. Picklable.
    """

    chain: CellChain | None
    given: Floats
    known: Ints
    heavy: Ints
    steps: int
    lag: float

    def run(self) -> int:
        """Draw, decode, join and keep the frames; returns their number."""
        propagator = self.subject.propagator()
        rng, generator, settling = numbered_streams(self.options.seed, self.number)
        given = laid_on_known(self.given.astype(np.float64), self.subject.reference[None], self.heavy)
        tolerance = _TOLD_TOLERANCE if self.chain is None else _TOLERANCE

        def observe(z: Tensor, t: int) -> tuple[Tensor, Callable[[int], Floats]]:
            x = laid_on_known(propagator.decode(z, rng), given[t][None], self.heavy)
            square = ((x[:, self.heavy] - given[t][self.heavy]) ** 2).sum(axis=(1, 2))
            return torch.from_numpy(-0.5 * square / tolerance**2).float(), x.__getitem__

        starts, filtered = self._filter(propagator, rng, generator)
        drawn = filtered.sample(starts, observe, len(given), generator)
        template = None if self.subject.manifest.of_force_field else propagator.template
        graft = Graft(self.subject.molecule, self.known, self.subject.limits, settling, template)
        joined = [graft.join(np.array(x), y) for x, y in zip(drawn.carried, given, strict=True)]
        kinds = np.full(len(joined), KINDS.index("relaxed"), np.int8)
        sound = failed_checks(np.stack(drawn.carried), propagator) == ""
        positions, energies = np.stack([x for x, _ in joined]), np.array([energy for _, energy in joined])
        return self.keep(DecodedFrames(positions, kinds, energies, sound), propagator)

    def _filter(
        self, propagator: Propagator, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, ObservedPaths]:
        """Particles of the first frame, and the filter that moves them on."""
        if self.chain is None:
            told = ToldSteps(propagator, self.known, self.given, self.lag)
            return told.starts(_TOLD_PARTICLES, generator), ObservedPaths(told, self.steps, torch.ones(1), told.arrive)
        points = self.chain.points[rng.choice(len(self.chain.weight), _PARTICLES, p=self.chain.weight)]
        steps = steps_of(propagator, self.chain.partition, self.lag)
        stationary = torch.from_numpy(self.chain.stationary).float()
        return torch.from_numpy(points), ObservedPaths(steps, self.steps, stationary)


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
    numbers, report = tuple(sorted(residues)), keywords.get("progress") or quiet
    return fill("inpaint", lambda r: _plan(r, numbers, design, report), (trajectory, top), interval, keywords)


def _plan(request: FillRequest, residues: tuple[int, ...], design: bool, report: Progress) -> FillPlan:
    subject = subject_of((request.top,), request.model, request.inputs)
    hidden = hidden_residues(subject.molecule.topology, residues)
    known, heavy = known_atoms(subject.molecule.topology, hidden)
    if len(heavy) < 3:
        raise ValueError(f"{len(heavy)} heavy atoms are left to go by; name fewer residues with --residues")
    propagator = subject.propagator()
    if design:
        check_design(propagator, hidden)
    given = request.given(subject)
    steps, lag = _split(given, subject.manifest.lag)
    chain = None if propagator.has_density else cell_chain(propagator)
    edges = np.linspace(0, len(given.positions), max(1, round(len(given.positions) / _PART)) + 1).astype(int).tolist()
    part = partial(InpaintPart, options=request, subject=subject, chain=chain, known=known, heavy=heavy, steps=steps)
    parts = [part(number=n, given=given.positions[a:b], lag=lag) for n, (a, b) in enumerate(pairwise(edges))]

    def describe(filled: Filled) -> tuple[dict[str, object], list[report_page.Section], bytes]:
        drawn = [c for c, quad in enumerate(subject.quads) if not set(quad.tolist()) <= set(known.tolist())]
        names = [subject.spec.names[c] for c in drawn]
        before = subject.torsions(given.positions.astype(np.float64))[:, drawn]
        found, sections, image = _describe(names, given.times, before, filled.torsions[:, drawn])
        if design:
            weighed = weigh(propagator, hidden, known, given.positions, seed=request.seed, report=report)
            found["design"] = write_design(request.out, weighed, residues)
            sections = [design_section(weighed, residues), *sections]
        return {"residues": list(residues), **found}, sections, image

    apart, record = format_time(given.interval), {"residues": list(residues), "design": design}
    title = f"Residues {', '.join(map(str, residues))} drawn in {len(given.positions):,} frames {apart} apart"
    return FillPlan(subject, given, parts, given.times, record, describe=describe, title=title)


def hidden_residues(topology: app.Topology, residues: tuple[int, ...]) -> Bools:
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
    try:
        return split_time(round(given.interval, 6), lags)
    except ValueError as error:
        raise ValueError(
            f"frames of {given.path} are {format_time(given.interval)} apart, which is no multiple of a step of the "
            f"model, {format_time(lags[0])} to {format_time(lags[1])}: take every n-th frame, and fill in the others "
            "afterwards with `latentmd upsample`"
        ) from error


def _describe(
    names: list[str], times: Doubles, before: Floats, after: Floats
) -> tuple[dict[str, object], list[report_page.Section], bytes]:
    """Entries of the summary, sections of the page and a picture of torsions [frames, torsions] in file and result."""
    turned = np.degrees(np.abs((after - before + np.pi) % (2 * np.pi) - np.pi))
    near = dict(zip(names, (turned < 30).mean(axis=0).tolist(), strict=True))
    image = _picture(names, times, np.degrees(before), np.degrees(after))
    rows = [(name, percent(share, 1)) for name, share in near.items()]
    text = "The file's own coordinates of these residues, which were not looked at, serve as comparison here."
    sections = [
        report_page.Section("Residues drawn", text, figures=[(image, "Orange: drawn. Grey: in the file.")]),
        report_page.Section("Frames within 30° of the file's", "", table(("torsion", "share of the frames"), rows)),
    ]
    return {"frame_interval_ps": float(times[1] - times[0]), "within_30_degrees": near}, sections, image


def _picture(names: list[str], times: Doubles, before: Floats, after: Floats) -> bytes:
    count = max(1, min(3, len(names)))
    made, axes = figures.figure(count, 2, width=4.4, height=2.2)
    edges = np.linspace(-180, 180, 73).tolist()
    for row, name in enumerate(names[:count]):
        line, bars, file, own = axes[2 * row], axes[2 * row + 1], before[:, row], after[:, row]
        line.plot(times, file, ".", ms=3, color=figures.REFERENCE)
        line.plot(times, own, ".", ms=2, color=figures.GENERATED)
        line.set(ylabel=f"{name} (degrees)", xlabel="time (ps)", ylim=(-180, 180))
        bars.hist(file, edges, density=True, alpha=0.3, color=figures.REFERENCE, label="in the file")
        bars.hist(own, edges, density=True, histtype="step", color=figures.GENERATED, label="drawn")
        bars.set(xlabel=f"{name} (degrees)", yticks=[])
    if names:
        axes[1].legend(frameon=False, fontsize=8)
    return figures.png(made)
