"""Relaxed and free-energy profiles of bonds of a small molecule.

    python examples/ligands/scan.py ligand.sdf --bond 4-5 --solvent vacuum --relaxed-only
    python examples/ligands/scan.py --smiles "CC(=O)Oc1ccccc1C(=O)O" --name aspirin --wall 3min

The relaxed profile is the lowest energy at each angle. Each starts from many draws of the other torsions. Then it
tries the lowest structure of its neighbours, and of a molecule that equals its mirror image the mirrored structure,
until none falls any more (a wavefront; Qiu et al., J. Chem. Phys. 152, 244116, 2020). From the lowest of all the bond
is also turned forward and backward step by step, as a scan without other starts would be: where both differ, what they
find depends on the way there (hysteresis). The free energy F(θ) = -kT ln p(θ) comes from exact chains of the whole
molecule, which turn all bonds at once. Needs `pip install '.[ligands]'`.

OUT holds scan.csv (relaxed energies, plain scans forward and backward, free energies with standard errors), scan.sdf
(the relaxed structures with these numbers), scan.png, bonds.png (the drawing with its atoms numbered) and summary.json.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import click
import numpy as np

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Bools, Doubles, Floats, Ints
from latentmd.cli.common import run_errors
from latentmd.cli.options import WallTime
from latentmd.cli.progress import Display
from latentmd.io.atomic import write_bytes, write_csv, write_json
from latentmd.io.folder import RunFiles
from latentmd.io.progress import Progress, quiet
from latentmd.molecule.bonds import neighbour_lists
from latentmd.molecule.checks import signed_volumes, topology_arrays
from latentmd.molecule.checks import torsions as dihedrals
from latentmd.molecule.stereo import mirror_image
from latentmd.molecule.torsions import acyclic_torsions, rotatable_torsions
from latentmd.replicas.choice import replica_engine
from latentmd.report import figures
from latentmd.sampling.metropolis.blocks import Torsions
from latentmd.sampling.metropolis.conformers import drawing, write_sdf
from latentmd.sampling.metropolis.run import TASKS, chains, protocol_of, unsuitable
from latentmd.sampling.metropolis.segments import CHAINS, SUMMARY, SegmentFiles
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.sampling.metropolis.wells import turns_of
from latentmd.sampling.run.clock import process_start
from latentmd.sampling.run.preparation import Arrays, made_once, molecule_under
from latentmd.sampling.run.seeds import PLAN, keyed_rng
from latentmd.sampling.run.stopping import RunResult, Stopped, session
from latentmd.systems.builder import Molecule
from latentmd.systems.ligands import records, sided_bonds
from latentmd.systems.protocol import InputOptions
from latentmd.systems.sanity import in_nm
from latentmd.units import KILOCALORIE, thermal_energy

FILES = RunFiles("scan", ("scan.*", "bonds.png", "relaxed-*.npz", "chains", SUMMARY))
_PRECISION = 0.1  # kT, of the populations of wells at which chains end
_DRAWS, _MOST_DRAWS = 8, 48  # random starts at each angle, for each other torsion and at most
_STIFFNESS = 1e4  # kJ/mol/rad²: d is below half a degree at a slope of 80 kJ/mol/rad
_ITERATIONS, _TOLERANCE = 400, 0.5  # of a minimisation; kJ/mol/nm
_GAIN = 0.01  # kJ/mol; what falls by less has not fallen


def scan(
    molecule: str | Path,
    bonds: Sequence[str] = (),
    *,
    step: float = 15.0,
    relaxed_only: bool = False,
    out: str | Path | None = None,
    progress: Progress = quiet,
    **options: Any,
) -> RunResult:
    """Scan bonds, each "4-5"; all that exact chains turn where empty. Angles are `step` degrees apart.

    The options are those of `ChainsRequest`. ValueError for a wrong setting, molecule or bond; OutputError for a folder
    that cannot be used.
    """
    source, given = Path(molecule), {name: value for name, value in options.items() if value is not None}
    request = ChainsRequest(out=Path(out or f"{source.stem}-scan"), precision=_PRECISION, **given)
    if not 1 <= step <= 60 or abs(60 / step - round(60 / step)) > 1e-9:
        raise ValueError(f"--step is {step:g} degrees; expected a divisor of 60, such as 5, 10, 15 or 30")
    protocol, degrees = protocol_of(request, None), np.linspace(step - 180, 180, round(360 / step), dtype=np.float64)
    if len(found := records(source, request.inputs)) > 1:
        raise ValueError(f"{source} has {len(found)} molecules; choose one by --model-number")
    progress("preparing")
    built = molecule_under(protocol, source, None)
    if not built.ligand:
        raise ValueError(f"{source} does not tell bond orders, as the file of a small molecule does; give --smiles too")
    torsions, chosen = bonds_of(built, bonds)
    content = source.read_bytes().decode("latin-1") if source.is_file() else str(source)
    record = {"molecule": content, "protocol": asdict(protocol), "seed": request.seed, "bonds": list(chosen)}
    with session(request.out, request.policy, FILES, {**record, "step": step, "relaxed_only": relaxed_only}) as stop:
        turned, quads, notes = _periods(built), list(map(tuple, torsions.quads.tolist())), list(built.notes)
        scanner = Scanner(built, torsions, tuple(map(quads.index, turned)), in_nm(built.positions))
        profiles = dict[str, Arrays]()
        for label, index in chosen.items():
            progress("relaxed profiles", len(profiles), len(chosen))

            def make(index: int = index) -> Arrays:
                return scanner.run(index, np.deg2rad(degrees), keyed_rng(request.seed, 0, PLAN, 20 + index))

            profiles[label] = made_once(request.out / f"relaxed-{label}.npz", make)
            if stop():
                raise Stopped(request.out)
        series = {} if relaxed_only else _sampled(source, built, request, notes, progress)
        for label, index in chosen.items():
            free = np.full((2, len(degrees)), np.nan)
            if quads[index] in series:
                free = free_energies(series[quads[index]], degrees, turned.get(quads[index], 360.0))
            profiles[label] |= {"free energy": free[0], "standard error": free[1]}
        return RunResult(request.out, _write(request, built, degrees, profiles, notes))


def bonds_of(molecule: Molecule, asked: Sequence[str]) -> tuple[Torsions, dict[str, int]]:
    """All torsions about bonds that can turn, and by "4-5" the index of those to scan; ValueError for another bond."""
    symbols, bonds = topology_arrays(molecule.topology)
    torsions = Torsions(*acyclic_torsions(rotatable_torsions(symbols, bonds, rotors=True), bonds, len(symbols)))
    quads = torsions.quads.tolist()
    can = {"-".join(str(i + 1) for i in sorted(quad[1:3])): index for index, quad in enumerate(quads)}
    if not can:
        raise ValueError("no bond of this molecule can turn: all are in rings or end in a single atom")
    turned = [label for label, index in can.items() if tuple(quads[index]) in _periods(molecule)]
    labels = ["-".join(sorted(text.split("-"), key=lambda end: (len(end), end))) for text in asked]
    for text, label in zip(asked, labels, strict=True):
        if label not in can:
            raise ValueError(f"--bond {text} is no bond that can turn; by their atoms, these can: {', '.join(can)}")
    return torsions, {label: can[label] for label in labels or turned or can}


def _periods(molecule: Molecule) -> dict[tuple[int, ...], float]:
    """Torsions that exact chains turn, with the degrees after which each is the same."""
    quads = rotatable_torsions(*topology_arrays(molecule.topology)).tolist()
    turns = turns_of(molecule.topology, in_nm(molecule.positions), sided_bonds(molecule.ligand))
    return {tuple(quads[one.torsion]): 360.0 if one.twin else one.period for one in turns if not one.ring}


def _sampled(
    source: Path, molecule: Molecule, request: ChainsRequest, notes: list[str], progress: Progress
) -> dict[tuple[int, ...], Floats]:
    """Torsions (chains, sweeps) in radians of exact chains, with the wall time that is left."""
    if why := unsuitable(molecule):
        notes.append(f"no free energies: the method of exact chains {why}")
        return {}
    inside = replace(request, out=request.out / "chains", overwrite=False, resume=True)
    try:
        result = chains(source, inside, molecule, progress)
    except Stopped as error:
        raise Stopped(request.out) from error
    if result.summary["missing"]:
        notes.append("free energies are provisional: chains/free_energy.html says what is missing")
    angles = SegmentFiles(inside.out / CHAINS, TASKS).read(int(result.summary["sweeps"]), "angles")
    quads = rotatable_torsions(*topology_arrays(molecule.topology)).tolist()
    return {tuple(quad): angles[..., column] for column, quad in enumerate(quads)}


def free_energies(angles: Floats, degrees: Doubles, period: float = 360.0) -> Doubles:
    """-ln p of a torsion (chains, sweeps) in radians in bins about `degrees`, above the lowest, and standard errors.

    Shape (2, degrees); nan without samples. A torsion is counted modulo its `period`.
    """
    away = (np.rad2deg(angles.astype(np.float64))[..., None] - degrees + period / 2) % period - period / 2
    half = 180.0 / len(degrees)
    inside = ((away >= -half) & (away < half)).astype(np.float64)
    shares = inside.mean(axis=(0, 1))
    shares[shares == 0] = np.nan
    effective = np.array([effective_samples(list(inside[..., i])) for i in range(len(degrees))])
    errors = np.sqrt((1 - shares) / (shares * np.maximum(effective, 1.0)))
    return np.stack([np.log(np.nanmax(shares) / shares), errors])


def sentences(degrees: Doubles, energies: Mapping[str, Doubles]) -> list[str]:
    """What energies in kcal/mol say: ends of both curves, hysteresis, and angles without structures or samples."""
    relaxed, forward, backward, free, errors = energies.values()

    def at(rows: Bools) -> str:
        return " at " + ", ".join(f"{value:g}°" for value in degrees[rows])

    def span(name: str, values: Doubles) -> str:
        top = np.nanmax(values)
        return f"{name} from 0{at(values == 0)} to {top:.2f} kcal/mol{at(values == top)}"

    apart, above = np.nan_to_num(np.abs(forward - backward)), np.nan_to_num(np.fmin(forward, backward) - relaxed)
    said = [
        span("relaxed", relaxed),
        f"scans forward and backward differ by up to {apart.max():.2f} kcal/mol{at(apart == apart.max())} (hysteresis) "
        f"and both lie up to {above.max():.2f} above the lowest{at(above == above.max())}",
    ]
    if np.isnan(relaxed).any():
        said.append(f"no structure of the same isomer{at(np.isnan(relaxed))}")
    if not np.isnan(free).all():
        said.append(f"{span('free energy', free)}, standard errors up to {np.nanmax(errors):.2g}")
        said += [f"no samples{at(np.isnan(free))}"] if np.isnan(free).any() else []
    return said


def _write(
    request: ChainsRequest, molecule: Molecule, degrees: Doubles, profiles: Mapping[str, Arrays], notes: list[str]
) -> dict[str, Any]:
    """Write scan.csv, scan.sdf, scan.png, bonds.png and summary.json, whose content is returned."""
    rows, structures, said, curves = list[dict[str, str]](), [], {}, {}
    kt = thermal_energy(molecule.protocol.temperature)
    for label, profile in profiles.items():
        zero = profile["relaxed"].min()
        found = {name: profile[name] - zero for name in ("relaxed", "forward", "backward")}
        found |= {name: kt * profile[name] for name in ("free energy", "standard error")}
        curves[label] = {name: np.where(np.isfinite(x), x / KILOCALORIE, np.nan) for name, x in found.items()}
        said[label] = sentences(degrees, curves[label])
        for i, angle in enumerate(degrees):
            cells = {"relaxed_kJ_per_mol": profile["relaxed"][i]}
            cells |= {f"{name.replace(' ', '_')}_kcal_per_mol": x[i] for name, x in curves[label].items()}
            row = {"bond": label, "angle_degrees": f"{angle:g}"}
            row |= {name: f"{value:.4f}" if np.isfinite(value) else "" for name, value in cells.items()}
            rows.append(row)
            if row["relaxed_kJ_per_mol"]:
                structures.append((f"{label} {angle:g}", profile["positions"][i], row))
    write_csv(request.out / "scan.csv", list(rows[0]), [list(row.values()) for row in rows])
    write_sdf(request.out / "scan.sdf", molecule.ligand, structures)
    write_bytes(request.out / "scan.png", _picture(degrees, curves))
    write_bytes(request.out / "bonds.png", drawing(molecule.ligand, np.zeros((0, 4), dtype=np.int64)))
    summary: dict[str, Any] = {"mode": "scan", "status": "complete", "frames": len(structures), "seed": request.seed}
    summary |= {"temperature": molecule.protocol.temperature, "bonds": said, "notes": notes}
    write_json(request.out / SUMMARY, summary)
    return summary


def _picture(degrees: Doubles, profiles: Mapping[str, Mapping[str, Doubles]]) -> bytes:
    """PNG with a panel for each bond."""
    columns = min(len(profiles), 2)
    made, axes = figures.figure(-(-len(profiles) // columns), columns, width=4.4, height=3.1)
    x = np.concatenate([degrees + turn for turn in (-360, 0, 360)])
    for axis, (label, energies) in zip(axes, profiles.items(), strict=False):
        *potential, free, errors = (np.tile(values, 3) for values in energies.values())
        for name, values, style in zip(energies, potential, ("o-", "--", ":"), strict=False):
            colour = figures.REFERENCE if name == "relaxed" else figures.COLOURS["training"]
            axis.plot(x, values, style, color=colour, label=name, markersize=3, linewidth=1.2)
        if np.isfinite(free).any():
            axis.errorbar(x, free, errors, fmt="s-", color=figures.GENERATED, label="free energy", ms=3, capsize=2)
        figures.degrees(axis, y=False)
        axis.set(title=label, xlabel="degrees", ylabel="kcal/mol", ylim=(-0.3, 1.3 * axis.get_ylim()[1]))
    for axis in axes[len(profiles) :]:
        axis.set_axis_off()
    axes[0].legend(fontsize=7, ncols=2, loc="upper center")
    return figures.png(made)


@dataclass(frozen=True)
class Scanner:
    """Scans bonds of a molecule whose torsions `free`, indices of `torsions`, may take any value.

    `start` is a structure (atoms, 3) in nm; what is not free keeps the side and the hand that it has there. A torsion
    is held by 0.5 k d²; the pull that is left when a minimisation ends is taken away by turning the bond rigidly by the
    last d, so that every structure has its angle exactly and its energy is the force field's alone.
    """

    molecule: Molecule
    torsions: Torsions
    free: tuple[int, ...]
    start: Doubles

    @cached_property
    def _image(self) -> list[int] | None:
        return mirror_image(*topology_arrays(self.molecule.topology), self.start)

    def run(self, bond: int, angles: Floats, rng: np.random.Generator) -> dict[str, Doubles]:
        """Scan torsion `bond` over angles in radians, evenly spread over the circle.

        "positions", lowest structures (angles, atoms, 3) in nm, and energies (angles,) in kJ/mol, "relaxed" of these,
        "forward" and "backward" of plain scans; infinite where no structure of the same isomer was found.
        """
        number, count = len(angles), min(1 + _DRAWS * len(self.free), _MOST_DRAWS)
        starts = np.repeat(self.start[None], number * count, axis=0)
        turns = rng.uniform(-np.pi, np.pi, (len(starts), len(self.free)))
        turns[::count] = 0.0  # one at each angle is as given
        starts[...] = self.torsions.turned(starts, self.free, turns)
        target, lowest, best = np.repeat(np.arange(number), count), np.full(number, np.inf), starts[::count].copy()
        changed = self._take(best, lowest, target, *self._lowered(bond, starts, angles[target]))
        self._spread(bond, best, lowest, angles=angles, changed=changed)
        forward, backward = self._both_ways(bond, best, lowest, angles)
        return {"positions": best, "relaxed": lowest, "forward": forward, "backward": backward}

    def _spread(self, bond: int, best: Doubles, lowest: Doubles, *, angles: Floats, changed: Bools) -> None:
        """Let angles, in place, try `changed` structures of their neighbours and mirror images, until none falls."""
        number = len(angles)
        for _ in range(2 * number):
            rows = np.flatnonzero(changed)
            if not len(rows):
                return
            starts, targets = np.repeat(best[rows], 2, axis=0), np.stack([rows - 1, rows + 1], axis=1).ravel() % number
            if self._image is not None:
                mirrored = np.empty_like(best[rows])
                mirrored[:, self._image] = -best[rows]
                away = angles - self._angle(bond, mirrored)[:, None]
                targets = np.concatenate([targets, np.cos(away).argmax(axis=1)])
                starts = np.concatenate([starts, mirrored])
            changed = self._take(best, lowest, targets, *self._lowered(bond, starts, angles[targets]))

    def _both_ways(self, bond: int, best: Doubles, lowest: Doubles, angles: Floats) -> tuple[Doubles, Doubles]:
        """Energies (angles,) of a turn forward and a turn backward from the lowest; what is lower enters, in place."""
        first, number = int(np.argmin(lowest)), len(angles)
        found, changed = np.full((2, number), np.inf), np.zeros(number, dtype=np.bool_)
        positions = np.repeat(best[first][None], 2, axis=0)
        for step in range(1, number + 1):
            target = np.array([first + step, first - step], dtype=np.int64) % number
            positions, energies = self._lowered(bond, positions, angles[target])
            found[[0, 1], target] = energies
            changed |= self._take(best, lowest, target, positions, energies)
        self._spread(bond, best, lowest, angles=angles, changed=changed)
        return found[0], found[1]

    @staticmethod
    def _take(best: Doubles, lowest: Doubles, target: Ints, positions: Doubles, energies: Doubles) -> Bools:
        """Keep, in place, structures that are lower than what their angle (index `target`) has; which angles fell."""
        changed = np.zeros(len(lowest), dtype=np.bool_)
        for row in np.argsort(-energies).tolist():
            if energies[row] < lowest[target[row]] - _GAIN:
                best[target[row]], lowest[target[row]] = positions[row], energies[row]
                changed[target[row]] = True
        return changed

    def _lowered(self, bond: int, positions: Doubles, targets: Floats) -> tuple[Doubles, Doubles]:
        """Structures (n, atoms, 3) turned to angles (n,), minimised there, and their energies in kJ/mol."""
        quad = self.torsions.quads[[bond]]
        engine = replica_engine(self.molecule.system, self._at(bond, positions, targets), restraints=quad)
        engine.hold(targets[:, None], _STIFFNESS)
        engine.minimize(_ITERATIONS, tolerance=_TOLERANCE)
        found = self._at(bond, engine.positions, targets)
        return found, np.where(self._same(found, bond), engine.energies(found), np.inf)

    def _at(self, bond: int, positions: Doubles, targets: Floats) -> Doubles:
        turns = np.angle(np.exp(1j * (targets - self._angle(bond, positions))))
        return np.asarray(self.torsions.turned(positions, (bond,), turns[:, None]))

    def _angle(self, bond: int, positions: Doubles) -> Doubles:
        return np.asarray(dihedrals(positions, self.torsions.quads[[bond]])[:, 0])

    def _same(self, positions: Doubles, bond: int) -> Bools:
        """Whether structures are finite and, but for `bond`, the start's isomer.

        That is: the hand of every atom with four neighbours, at most one a hydrogen, and the side (cis, trans) of flat
        bonds that are not free.
        """
        symbols, bonds = topology_arrays(self.molecule.topology)
        around = neighbour_lists(len(symbols), bonds)
        light = [sum(symbols[j] == "H" for j in near) for near in around]
        handed = [i for i, near in enumerate(around) if len(near) == 4 and light[i] <= 1]
        corners = np.array([[i, *around[i][:3]] for i in handed], dtype=np.int64).reshape(-1, 4)
        sides = [
            i
            for i, quad in enumerate(self.torsions.quads.tolist())
            if i != bond and i not in self.free and all(len(around[atom]) == 3 for atom in quad[1:3])
        ]
        every = np.concatenate([self.start[None], positions])
        hands = np.sign(signed_volumes(every, corners))
        signs = np.concatenate([hands, np.sign(np.cos(dihedrals(every, self.torsions.quads[sides])))], axis=1)
        return np.asarray((signs[1:] == signs[0]).all(axis=1) & np.isfinite(positions).all(axis=(1, 2)))


def main(arguments: Sequence[str] | None = None) -> None:
    """The command line; wrong input ends it with one sentence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    named = parser.add_mutually_exclusive_group()
    named.add_argument("file", nargs="?", type=Path, help="SDF or MOL2 file, or PDB file with --smiles")
    named.add_argument("--name", help="with --smiles and no FILE: begins the name of the output (molecule)")
    parser.add_argument("--bond", dest="bonds", action="append", default=[], help="two atoms, such as 4-5; repeated")
    parser.add_argument("--step", type=float, default=15.0, help="degrees between angles; a divisor of 60")
    parser.add_argument("--relaxed-only", action="store_true", help="no exact chains, and no free energies")
    parser.add_argument("--wall", default="5min", help="of everything, over all sessions")
    parser.add_argument("--temperature", type=float, help="of free energies, kelvin (300)")
    parser.add_argument("--solvent", choices=("implicit", "vacuum"))
    parser.add_argument("--force-field", action="append", default=[], metavar="XML", help="as of simulate; repeated")
    parser.add_argument("--smiles", help="the molecule, or bonds and charges of the one in a PDB file")
    parser.add_argument("--strip-salts", action="store_true", help="of several molecules keep the largest")
    parser.add_argument("--model-number", type=int, help="record to take of a file with several")
    parser.add_argument("--out", type=Path, help="output folder (<stem>-scan)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on with the run in the folder")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier run in the folder")
    options = vars(parser.parse_args(arguments))
    file, name, smiles = options.pop("file"), options.pop("name"), options.pop("smiles")
    salts, number = options.pop("strip_salts"), options.pop("model_number")
    if file is None and smiles is None:
        parser.error("expected FILE, or --smiles with a small molecule")
    try:
        with run_errors(), Display() as display:
            options["wall"], options["force_field"] = WallTime().parse(options["wall"]), tuple(options["force_field"])
            options["inputs"] = InputOptions(smiles=smiles, strip_salts=salts, model_number=number)
            result = scan(file or name or "molecule", progress=display, begun=process_start(), **options)
    except click.ClickException as error:
        parser.exit(error.exit_code, f"{error.message}\n")
    found = [f"{label}: {'; '.join(words)}" for label, words in result.summary["bonds"].items()]
    print("\n".join([*found, *result.summary["notes"], f"wrote {result.folder}/"]))


if __name__ == "__main__":
    main()
