"""report.png: what a run sampled, beside what the model was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Floats
from latentmd.io.ascii import ascii_path
from latentmd.io.atomic import replacing
from latentmd.io.provenance import KINDS, read_provenance
from latentmd.molecule.checks import torsions
from latentmd.sampling.rollout.folder import OutputFolder

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from latentmd.model.file import Reference


_BINS = 50
_SPREADS = 4  # of energies below the median that are shown above it
_TRACES = 6  # walkers drawn
_POINTS = 2000  # frames drawn per trace
_MEMORY = 50_000_000  # coordinates kept per walker; longer trajectories are thinned
_COLOURS = {"latent": "#4477aa", "relaxed": "#ccbb44", "md": "#ee6677"}


@dataclass(frozen=True)
class Coordinates:
    """One or two coordinates that describe a molecule.

    Attributes:
        names: labels for the axes.
        quads: atoms of the torsions, shape (torsions, 4); empty for a distance.
        pair: atoms of the distance.
        residue: label of the residue that a Ramachandran plot shows; empty for others.
    """

    names: tuple[str, ...]
    quads: NDArray[np.int64]
    pair: tuple[int, int] = (0, 0)
    residue: str = ""

    def values(self, positions: Floats) -> Floats:
        """Degrees, or nm for a distance, shape (frames, coordinates)."""
        if len(self.quads):
            return np.asarray(np.degrees(torsions(positions, self.quads)))
        return np.asarray(np.linalg.norm(positions[:, self.pair[0]] - positions[:, self.pair[1]], axis=-1))[:, None]


def coordinates(topology: Any) -> Coordinates:
    """What to draw of a molecule: phi and psi of the middle residue that has both, else torsions, else a distance.

    Args:
        topology: mdtraj.Topology with bonds.
    """
    solute = [r for r in topology.residues if not r.is_water]
    found = [(r, pair) for r in solute if (pair := _ramachandran(topology, r)) is not None]
    if found:
        residue, quads = found[len(found) // 2]
        name = f"{residue.name}{residue.resSeq}"
        return Coordinates((f"phi {name}", f"psi {name}"), np.array(quads), residue=name)
    heavy = [a.index for r in solute for a in r.atoms if a.element is not None and a.element.symbol != "H"]
    chain = _longest_torsion(topology, set(heavy))
    if chain is not None:
        label = "-".join(topology.atom(i).name for i in chain)
        return Coordinates((f"torsion {label}",), np.array([chain]))
    atoms = heavy if len(heavy) > 1 else [a.index for a in topology.atoms]
    first, last = atoms[0], atoms[-1]
    label = f"distance {topology.atom(first).name}-{topology.atom(last).name}"
    return Coordinates((label,), np.empty((0, 4), dtype=np.int64), (first, last))


def _ramachandran(topology: Any, residue: Any) -> list[list[int]] | None:
    atoms = {atom.name: atom for atom in residue.atoms}
    if not {"N", "CA", "C"} <= atoms.keys():
        return None
    bonded: dict[int, list[Any]] = {}
    for a, b in topology.bonds:
        bonded.setdefault(a.index, []).append(b)
        bonded.setdefault(b.index, []).append(a)
    before = [x for x in bonded.get(atoms["N"].index, []) if x.residue != residue and x.name == "C"]
    after = [x for x in bonded.get(atoms["C"].index, []) if x.residue != residue and x.name == "N"]
    if not (before and after):
        return None
    n, ca, c = (atoms[name].index for name in ("N", "CA", "C"))
    return [[before[0].index, n, ca, c], [n, ca, c, after[0].index]]


def _longest_torsion(topology: Any, heavy: set[int]) -> list[int] | None:
    """Four heavy atoms in a row, about the bond nearest the middle of the molecule."""
    bonded: dict[int, set[int]] = {}
    for a, b in topology.bonds:
        if a.index in heavy and b.index in heavy:
            bonded.setdefault(a.index, set()).add(b.index)
            bonded.setdefault(b.index, set()).add(a.index)
    chains = [
        [i, j, k, m]
        for j in bonded
        for k in bonded[j]
        if j < k
        for i in sorted(bonded[j] - {k})
        for m in sorted(bonded[k] - {j})
        if i != m
    ]
    return sorted(chains)[len(chains) // 2] if chains else None


def write_report(folder: OutputFolder, reference: Reference | None, interval: float) -> Path:
    """Draw report.png of a run.

    Args:
        folder: with topology.pdb, walker trajectories and provenance.csv.
        reference: what the model was trained on, if known.
        interval: ps between frames.
    """
    import mdtraj
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    topology = mdtraj.load_topology(str(folder.topology))
    chosen = coordinates(topology)
    written = [path for path in folder.trajectories() if path.stat().st_size]
    series = [_read(path, topology, chosen) for path in written]
    provenance = read_provenance(folder.provenance)
    figure = Figure(figsize=(10, 7.4), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(2, 2)
    axes = [figure.add_subplot(grid[cell]) for cell in ((0, 0), (0, 1), (1, 0))]
    count = len(chosen.names)
    below = grid[1, 1].subgridspec(count, 1)
    traces = [figure.add_subplot(below[row, 0]) for row in range(count)]
    values = np.concatenate([run for _, run in series])
    _sampled(axes[0], chosen, values, "this run")
    _beside(axes[1], chosen, values, provenance, reference)
    _energy(axes[2], provenance, reference)
    for column, axis in enumerate(traces):
        _traces(axis, chosen, series, column, last=column == count - 1)
    path = folder.path / "report.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=130, format="png")
    return path


def _read(path: Path, topology: Any, chosen: Coordinates) -> tuple[Floats, Floats]:
    """Times in ps and coordinates of a trajectory, every frame up to a limit and then thinned."""
    from mdtraj.formats import XTCTrajectoryFile

    times, values = [], []
    with ascii_path(path) as name, XTCTrajectoryFile(name) as file:
        stride = max(1, len(file) * topology.n_atoms * 3 // _MEMORY)
        while True:
            xyz, time, _, _ = file.read(1000, stride=stride)
            if len(xyz) == 0:
                break
            times.append(time)
            values.append(chosen.values(xyz))
    if not times:
        return np.empty(0), np.empty((0, len(chosen.names)))
    return np.concatenate(times), np.concatenate(values)


def _degrees(axis: Axes, x: bool = True, y: bool = True) -> None:
    ticks = [-180, -90, 0, 90, 180]
    if x:
        axis.set_xlim(-180, 180)
        axis.set_xticks(ticks)
    if y:
        axis.set_ylim(-180, 180)
        axis.set_yticks(ticks)


def _surface(axis: Axes, counts: Floats, title: str, names: tuple[str, ...]) -> None:
    """Free energy in kT over two torsions from counts (phi bins, psi bins), zero at its minimum."""
    with np.errstate(divide="ignore"):
        energy = -np.log(counts / counts.max())
    image = axis.imshow(
        np.where(np.isfinite(energy), energy, np.nan).T, origin="lower", extent=(-180, 180, -180, 180), vmin=0, vmax=8,
        cmap="viridis", aspect="equal", interpolation="nearest",
    )  # fmt: skip
    _degrees(axis)
    axis.set(title=title, xlabel=f"{names[0]} (degrees)", ylabel=f"{names[1]} (degrees)")
    axis.figure.colorbar(image, ax=axis, label="free energy (kT)", shrink=0.85)


def _sampled(axis: Axes, chosen: Coordinates, values: Floats, title: str) -> None:
    title = f"{title}, {len(values):,} frames"
    if len(chosen.names) == 2:
        bounds = [[-180, 180], [-180, 180]]
        counts, _, _ = np.histogram2d(values[:, 0], values[:, 1], bins=_BINS, range=bounds)
        _surface(axis, counts, title, chosen.names)
        return
    angle = len(chosen.quads) > 0
    axis.hist(values[:, 0], bins=_BINS, range=(-180, 180) if angle else None, color=_COLOURS["latent"], density=True)
    if angle:
        _degrees(axis, y=False)
    axis.set(title=title, xlabel=f"{chosen.names[0]} ({'degrees' if angle else 'nm'})", ylabel="density")


def _beside(
    axis: Axes, chosen: Coordinates, values: Floats, provenance: dict[str, NDArray[Any]], reference: Reference | None
) -> None:
    """The training reference, or, where there is none, how the molecule's coordinate decorrelates from the start."""
    maps = {entry.residue: entry.counts for entry in reference.ramachandran} if reference else {}
    counts = maps.get(chosen.residue) or (next(iter(maps.values())) if len(maps) == 1 else None)
    if counts is not None and chosen.residue:
        _surface(axis, np.asarray(counts, dtype=float), "training reference (plain MD)", chosen.names)
        return
    kinds, energies = provenance["kind"], provenance["potential_energy"]
    low, high = _limits(energies, reference)
    for kind in KINDS:
        part = energies[kinds == kind]
        if len(part):
            above = int((part > high).sum())
            label = f"{kind}, {len(part):,}" + (f", {above:,} above" if above else "")
            axis.hist(
                part, bins=60, range=(low, high), density=True, histtype="step", color=_COLOURS[kind], label=label
            )
    axis.set(title="potential energies by kind of frame", xlabel="potential energy (kJ/mol)", ylabel="density")
    axis.legend(frameon=False)


def _energy(axis: Axes, provenance: dict[str, NDArray[Any]], reference: Reference | None) -> None:
    times, energies, kinds = provenance["time_ps"], provenance["potential_energy"], provenance["kind"]
    step = max(1, len(times) // 20_000)
    scale, unit = _time_scale(times)
    for kind in KINDS:
        mask = kinds == kind
        mask[np.arange(len(mask)) % step != 0] = False
        if mask.any():
            axis.plot(times[mask] / scale, energies[mask], ".", ms=3, alpha=0.6, color=_COLOURS[kind], label=kind)
    if reference is not None and reference.energy_quantiles is not None:
        low, _, high = reference.energy_quantiles
        axis.axhspan(low, high, color="0.88", zorder=0, label="MD, 0.1 to 99.9 %")
    low, high = _limits(energies, reference)
    axis.set_ylim(low, high)
    above = int((energies > high).sum())
    title = f"potential energy, all walkers; {above:,} frames are higher" if above else "potential energy, all walkers"
    axis.set(title=title, xlabel=f"time ({unit})", ylabel="potential energy (kJ/mol)")
    axis.legend(loc="upper right", markerscale=2, ncols=2, edgecolor="none", framealpha=0.9)


def _limits(energies: Floats, reference: Reference | None) -> tuple[float, float]:
    """Range of energies to show: those of MD, however high the clashes of single frames that no MD has relaxed."""
    low, lowest, median, high = np.quantile(energies, [0.0, 0.01, 0.5, 0.995])
    high = min(high, median + _SPREADS * (median - lowest))
    if reference is not None and reference.energy_quantiles is not None:
        low, high = min(low, reference.energy_quantiles[0]), max(high, reference.energy_quantiles[2])
    margin = 0.05 * (high - low) or 1.0
    return float(low - margin), float(high + 4 * margin)


def _traces(axis: Axes, chosen: Coordinates, series: list[tuple[Floats, Floats]], column: int, last: bool) -> None:
    angle, name = len(chosen.quads) > 0, chosen.names[column]
    scale, unit = _time_scale(np.concatenate([times for times, _ in series]))
    for times, values in series[:_TRACES]:
        step = max(1, len(times) // _POINTS)
        style = "." if angle else "-"
        axis.plot(times[::step] / scale, values[::step, column], style, ms=2.5, lw=0.7)
    if angle:
        _degrees(axis, x=False)
    axis.set_ylabel(f"{name}\n({'degrees' if angle else 'nm'})")
    if column == 0:
        axis.set_title(f"traces, walkers 0 to {_TRACES - 1}" if len(series) > _TRACES else "traces, all walkers")
    if last:
        axis.set_xlabel(f"time ({unit})")
    else:
        axis.tick_params(labelbottom=False)


def _time_scale(times: Floats) -> tuple[float, str]:
    return (1000.0, "ns") if len(times) and float(np.max(times)) > 2000 else (1.0, "ps")
