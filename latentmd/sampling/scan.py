"""Torsion scans: relaxed and free-energy profiles of bonds of a molecule.

The relaxed profile is the lowest energy at each angle. Each starts from many draws of the other torsions. Then it
tries the lowest structure of its neighbours, and of a molecule that equals its mirror image the mirrored structure,
until none falls any more (a wavefront; Qiu et al., J. Chem. Phys. 152, 244116, 2020). From the lowest of all the bond
is also turned forward and backward step by step, as a scan without other starts would be: where both differ, what they
find depends on the way there (hysteresis). The free energy F(θ) = -kT ln p(θ) comes from exact chains of the whole
molecule, which turn all bonds at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from latentmd.analysis.statistics import effective_samples, evenly
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.io.atomic import write_bytes, write_csv, write_json
from latentmd.io.folder import RunFiles
from latentmd.io.progress import Progress, quiet
from latentmd.io.writer import write_xtc
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.stereo import difference, mirror_image, stereochemistry
from latentmd.molecule.torsions import acyclic_torsions, rotatable_torsions, torsion_name
from latentmd.replicas.choice import replica_engine
from latentmd.report import figures
from latentmd.report.markup import bullets
from latentmd.report.page import Section, write_page
from latentmd.report.viewer import View
from latentmd.sampling.metropolis.blocks import Torsions
from latentmd.sampling.metropolis.conformers import drawing, write_sdf
from latentmd.sampling.metropolis.run import TASKS, chains, protocol_of, unsuitable
from latentmd.sampling.metropolis.segments import CHAINS, SUMMARY, TOPOLOGY, SegmentFiles
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.sampling.metropolis.wells import turns_of
from latentmd.sampling.models import given_model, of_one
from latentmd.sampling.run.options import DEFAULT_WALL
from latentmd.sampling.run.preparation import Arrays, made_once, molecule_under, say_notes, write_molecule
from latentmd.sampling.run.processes import cores
from latentmd.sampling.run.seeds import PLAN, keyed_rng
from latentmd.sampling.run.stopping import RunResult, Stopped, session, summary_head
from latentmd.systems.builder import Molecule
from latentmd.systems.ligands import records, sided_bonds
from latentmd.systems.own_force_field import refuse_force_field
from latentmd.systems.protocol import SYSTEM_FILE
from latentmd.systems.sanity import in_nm
from latentmd.units import KILOCALORIE, thermal_energy

FILES = RunFiles("scan", ("scan.*", "bonds.png", "relaxed-*.npz", "chains", TOPOLOGY, SYSTEM_FILE, SUMMARY))
_MOST = 400  # atoms
_DRAWS, _MOST_DRAWS = 8, 48  # random starts at each angle, for each other torsion and at most
_STIFFNESS = 1e4  # kJ/mol/rad²: d is below half a degree at a slope of 80 kJ/mol/rad
_ITERATIONS, _TOLERANCE = 400, 0.5  # of a minimisation; kJ/mol/nm
_GAIN = 0.01  # kJ/mol; what falls by less has not fallen
_FINE = 5.0  # degrees between the angles that a density is summed over
_STRUCTURES, _FEWEST = 4000, 20  # of chains that are turned at most, and that an angle's density comes from at least
_UNITS = {"kJ_per_mol": 1.0, "kcal_per_mol": KILOCALORIE}
_STYLES = {"relaxed": ("o-", figures.REFERENCE), "forward": ("--", "#9aa5b1"), "backward": (":", "#9aa5b1")}
_STYLES |= {"free_energy": ("s-", figures.GENERATED)}
_CURVES = (*_STYLES, "standard_error")
_TEXT = (
    "Relaxed: the lowest energy that was found at each angle. Forward and backward: scans step by step; where they lie "
    "higher, another part of the molecule has to move as well. Free energy: -kT ln p, with standard errors."
)


def scan(
    molecule: str | Path, bonds: Sequence[str] = (), *, step: float = 15.0, relaxed_only: bool = False,
    progress: Progress = quiet, **options: Any,
) -> RunResult:  # fmt: skip
    """Scan bonds of a molecule: relaxed and free-energy profiles with standard errors, into a folder.

    ValueError for a setting, molecule or bond that is wrong, OutputError for the folder, RunInterrupted after Ctrl-C.

    Args:
        molecule: a file, as of `simulate`, or what begins the name of the folder where `inputs` has a SMILES.
        bonds: such as "4-5", by atoms numbered from 1, or "phi ALA2"; all that exact chains turn without any.
        step: degrees between angles, a divisor of 60.
        relaxed_only: whether to leave out exact chains, and with them free energies.
        progress: called with (stage, done, total).
        options: of `simulate` with exact chains; `out` is `<stem>-scan` where None, and `wall`, of everything, 600 s.
    """
    given = {name: value for name, value in options.items() if value is not None}
    source, given["out"] = Path(molecule), Path(given.get("out", f"{Path(molecule).stem}-scan"))
    request = ChainsRequest(**{"precision": 0.1, "wall": DEFAULT_WALL, **given})
    if not 1 <= step <= 60 or abs(60 / step - round(60 / step)) > 1e-9:
        raise ValueError(f"--step is {step:g} degrees; expected a divisor of 60, such as 5, 10, 15 or 30")
    if request.force_field:
        refuse_force_field(source, request.inputs)
    if len(found := records(source, request.inputs)) > 1:
        raise ValueError(f"{source} has {len(found)} molecules; choose one by --model-number")
    protocol = protocol_of(request, None if request.model is None else of_one(given_model(request.model), source))
    progress("preparing")
    built = molecule_under(protocol, source, None)
    if (atoms := built.topology.getNumAtoms()) > _MOST:
        raise ValueError(f"{source} has {atoms} atoms; expected at most {_MOST}: cut out a piece around the bond")
    torsions, free, chosen = bonds_of(built, bonds)
    sampled = [] if relaxed_only else [title for title, bond in chosen.items() if bond in free]
    if sampled and (why := unsuitable(built)):
        raise ValueError(f"free energies come from exact chains, whose method {why}; add --relaxed-only")
    content = source.read_bytes().decode("latin-1") if source.is_file() else str(source)
    record: dict[str, object] = {"molecule": content, "protocol": asdict(protocol), "model": request.model}
    record |= {"seed": request.seed, "bonds": list(chosen), "step": step, "relaxed_only": relaxed_only}
    with session(request.out, request.policy, FILES, record) as stop:
        write_molecule(request.out, built, in_nm(built.positions))
        scanner = partial(Scanner, built, torsions, free, step, threads=request.processes or cores())
        profiles = dict[str, Arrays]()
        for title, bond in chosen.items():
            progress("relaxed profiles", len(profiles), len(chosen))
            make = partial(scanner(bond=bond).run, keyed_rng(request.seed, 0, PLAN, 20 + bond))
            profiles[title] = made_once(request.out / f"relaxed-{title.split()[0]}.npz", make)
            if stop():
                raise Stopped(request.out)
        write = partial(_write, request.out, built, profiles)
        if not sampled:
            say_notes(built, source)
            return write("complete")
        if not (request.out / SUMMARY).exists():
            write("interrupted", ["there are no free energies yet: the chains were stopped"])
        inside = replace(request, out=request.out / "chains", overwrite=False, resume=True)
        made = chains(source, inside, built, progress)
        structures = SegmentFiles(inside.out / CHAINS, TASKS).read(int(made.summary["sweeps"]), "positions")
        for number, title in enumerate(sampled):
            progress("free energies", number, len(sampled))
            profiles[title] |= scanner(bond=chosen[title]).free_energies(structures)
        return write(made.status, made.summary["missing"])


def bonds_of(molecule: Molecule, asked: Sequence[str]) -> tuple[Torsions, tuple[int, ...], dict[str, int]]:
    """All torsions about bonds that can turn, indices of those with free energies, and of those to scan by title.

    A title is such as "4-5 (C2-O4-C5-C10)". ValueError where another bond is asked for.
    """
    symbols, bonds = topology_arrays(molecule.topology)
    linear = (np.array(symbols) == "C") & (np.bincount(bonds.ravel(), minlength=len(symbols)) == 2)
    every = rotatable_torsions(symbols, bonds, rotors=True)
    torsions = Torsions(*acyclic_torsions(every[~linear[every[:, 1:3]].any(axis=1)], bonds, len(symbols)))
    quads, columns = torsions.quads.tolist(), rotatable_torsions(symbols, bonds).tolist()
    if not quads:
        raise ValueError("no bond of this molecule can turn: all are in rings, in line or end in a single atom")
    reported = turns_of(molecule.topology, in_nm(molecule.positions), sided_bonds(molecule.ligand))
    turns = [quads.index(columns[turn.torsion]) for turn in reported if not turn.ring]
    rotors = [i for i, quad in enumerate(quads) if quad not in columns]
    labels = {f"{j + 1}-{k + 1}": i for i, (_, j, k, _) in enumerate(quads)}
    names = {torsion_name(molecule.topology, quad): i for i, quad in enumerate(quads)}
    titles = {f"{label} ({torsion_name(molecule.topology, quads[i])})": i for label, i in labels.items()}
    chosen = set[int]()
    for text in asked:
        label = "-".join(sorted(text.split("-"), key=lambda end: (len(end), end)))
        if (index := names.get(text, labels.get(label))) is None:
            fixed = label in {f"{j + 1}-{k + 1}" for _, j, k, _ in every.tolist()}
            why = "in a ring or in line with the next" if fixed else "no bond between atoms with other neighbours"
            raise ValueError(f"--bond {text} is {why}; can turn: {', '.join(labels if molecule.ligand else names)}")
        chosen.add(index)
    scanned = {title: i for title, i in titles.items() if i in (chosen or turns or titles.values())}
    return torsions, (*turns, *rotors), scanned


@dataclass
class Scanner:
    """Scan of a torsion of a molecule, every `step` degrees.

    `bond` is its index in `torsions`. Those that are `free` may take any value; all else keeps the side and the hand
    of the molecule's own structure. The torsion is held by 0.5 k d²; the pull that is left when a minimisation ends is
    taken away by turning the bond rigidly by the last d, so that every structure has its angle exactly and its energy
    is the force field's alone.
    """

    molecule: Molecule
    torsions: Torsions
    free: tuple[int, ...]
    step: float
    bond: int
    threads: int = 1

    def __post_init__(self) -> None:
        self.start, self.degrees = in_nm(self.molecule.positions)[None], np.arange(self.step, 360.01, self.step) - 180
        self.angles, number = np.deg2rad(self.degrees), len(self.degrees)
        self.best, self.lowest = np.repeat(self.start, number, axis=0), np.full(number, np.inf)
        self.fallen, atoms = np.zeros(number, dtype=np.bool_), list(self.molecule.topology.atoms())
        ends = self.torsions.quads[[self.bond, *self.free], 1:3].ravel().tolist()
        amides = {i for i in ends if atoms[i].element.symbol == "N"}  # that may turn
        isomer = stereochemistry(self.molecule.topology, self.start[0])
        self.isomer = {atom: sign for atom, sign in isomer.items() if atom not in amides}

    def run(self, rng: np.random.Generator) -> dict[str, Doubles]:
        """Scan from starts by `rng`: at "degrees" the lowest "positions" (angles, atoms, 3) in nm, and energies.

        In kJ/mol, "energy" is the force field's, "relaxed" the same above the lowest, as are "forward" and "backward"
        of plain scans; nan where no structure of the same isomer was found.
        """
        number, count = len(self.angles), min(1 + _DRAWS * len(self.free), _MOST_DRAWS)
        starts, rows = np.repeat(self.start, number * count, axis=0), np.repeat(np.arange(number), count)
        turns = rng.uniform(-np.pi, np.pi, (len(starts), len(self.free)))
        turns[::count] = 0.0  # one at each angle is as given
        self._lower(self.torsions.turned(starts, self.free, turns), rows)
        self._spread()
        first, ways = int(np.argmin(self.lowest)), np.full((2, number), np.inf)
        positions = self.best[[first, first]]
        for step in range(1, number + 1):
            rows = (first + step * np.array([1, -1])) % number
            positions, ways[[0, 1], rows] = self._lower(positions, rows)
        self._spread()
        energies = np.array([self.lowest, *ways])
        energies[~np.isfinite(energies)] = np.nan
        curves = dict(zip(_STYLES, energies - np.nanmin(energies[0]), strict=False))
        unknown = dict.fromkeys(("free_energy", "standard_error"), np.full(number, np.nan))
        return {"degrees": self.degrees, "positions": self.best, "energy": energies[0], **curves, **unknown}

    def _spread(self) -> None:
        """Let angles try what has fallen at their neighbours, and its mirror images, until nothing falls any more."""
        image = mirror_image(*topology_arrays(self.molecule.topology), self.start[0])
        while self.fallen.any():
            rows, self.fallen = np.flatnonzero(self.fallen), np.zeros_like(self.fallen)
            starts, targets = self.best[np.tile(rows, 2)], np.concatenate([rows - 1, rows + 1]) % len(self.angles)
            if image is not None:
                mirrored = np.empty_like(self.best[rows])
                mirrored[:, image] = -self.best[rows]
                nearest = np.cos(self.angles - self.torsions.angles(mirrored)[:, [self.bond]]).argmax(axis=1)
                starts, targets = np.concatenate([starts, mirrored]), np.concatenate([targets, nearest])
            self._lower(starts, targets)

    def _lower(self, starts: Floats, rows: Ints) -> tuple[Doubles, Doubles]:
        """Turn structures (n, atoms, 3) to angles, by index, minimise them there, and keep what is lower than before.

        All that were found, and their energies in kJ/mol. Another isomer is not kept.
        """
        targets, quad, topology = self.angles[rows], self.torsions.quads[[self.bond]], self.molecule.topology
        starts = self._at(starts, targets)
        engine = replica_engine(self.molecule.system, starts, restraints=quad, threads=self.threads)
        engine.hold(targets[:, None], _STIFFNESS)
        engine.minimize(_ITERATIONS, tolerance=_TOLERANCE)
        found = self._at(engine.positions, targets)
        energies = engine.energies(found)
        for i in np.argsort(energies).tolist():
            if energies[i] < self.lowest[rows[i]] - _GAIN and not difference(topology, found[i], self.isomer):
                self.best[rows[i]], self.lowest[rows[i]], self.fallen[rows[i]] = found[i], energies[i], True
        return found, energies

    def _at(self, positions: Floats, targets: Floats) -> Doubles:
        turns = targets - self.torsions.angles(positions)[:, self.bond]
        return np.asarray(self.torsions.turned(positions, (self.bond,), turns[:, None]))

    def free_energies(self, structures: Floats) -> dict[str, Doubles]:
        """ "free_energy" -kT ln p in kJ/mol above the lowest, with its "standard_error", at the angles.

        From structures (chains, frames, atoms, 3) in nm of exact chains: p is the mean of the density of the torsion
        with all else as in a structure, known on barriers too (conditioning; Gelfand and Smith, J. Am. Stat. Assoc. 85,
        398, 1990). nan where hardly any structure has a share.
        """
        thinned = structures[:, evenly(structures.shape[1], _STRUCTURES // len(structures))]
        every, parts = thinned.reshape(-1, *thinned.shape[2:]).astype(np.float64), -int(-self.step // _FINE)
        engine = replica_engine(self.molecule.system, every, threads=self.threads)
        kt, grid = thermal_energy(self.molecule.protocol.temperature), np.arange(1, parts * len(self.angles) + 1)
        places = np.deg2rad(grid * self.step / parts - 180)
        energies = np.stack([engine.energies(self._at(every, place)) for place in places]) / kt
        weights = np.exp(energies.min(axis=0) - energies)
        shares = (weights / weights.sum(axis=0))[parts - 1 :: parts]
        effective = [max(effective_samples(list(one)), 1.0) for one in shares.reshape(-1, *thinned.shape[:2])]
        means = shares.mean(axis=1)
        means[shares.sum(axis=1) ** 2 <= _FEWEST * (shares**2).sum(axis=1)] = np.nan
        errors = shares.std(axis=1) / means / np.sqrt(effective)
        return {"free_energy": kt * np.log(np.fmax.reduce(means) / means), "standard_error": kt * errors}


def _write(
    out: Path, molecule: Molecule, profiles: Mapping[str, Arrays], status: str, missing: Sequence[str] = ()
) -> RunResult:
    """Write scan.csv, structures, pictures, page and summary.json of profiles by title."""
    heads, rows = ["bond", "torsion", "degrees", "energy_kJ_per_mol"], list[list[str]]()
    for title, profile in profiles.items():
        bond, torsion = title[:-1].split(" (", 1)
        curves = [profile[name] / size for size in _UNITS.values() for name in _CURVES]
        for numbers in zip(profile["degrees"], profile["energy"], *curves, strict=True):
            rows.append([bond, torsion, *("" if np.isnan(x) else f"{x:.7g}" for x in numbers)])
    heads += [f"{name}_{unit}" for unit in _UNITS for name in _CURVES]
    write_csv(out / "scan.csv", heads, rows)
    shown = [(title, x["positions"], x["degrees"]) for title, x in profiles.items()]
    positions, pictures = np.concatenate([x for _, x, _ in shown]), {"scan.png": _picture(profiles)}
    write_xtc(out / "scan.xtc", positions, np.arange(len(positions)))
    if molecule.ligand:
        tags = [dict(zip(heads, row, strict=True)) for row in rows]
        every = [(f"{tag['bond']} {tag['degrees']}", x, tag) for tag, x in zip(tags, positions, strict=True)]
        write_sdf(out / "scan.sdf", molecule.ligand, [one for one in every if one[2]["energy_kJ_per_mol"]])
        pictures["bonds.png"] = drawing(molecule.ligand, np.zeros((0, 4), dtype=np.int64))
    for name, picture in pictures.items():
        write_bytes(out / name, picture)
    highest = {title: {n: np.nanmax(x[n]) for n in _CURVES if np.isfinite(x[n]).any()} for title, x in profiles.items()}
    summary = {**summary_head("scan", status), "mode": "scan", "frames": len(rows), "file": "scan.xtc"}
    summary |= {"missing": list(missing), "highest_kJ_per_mol": highest, "notes": list(molecule.notes)}
    write_json(out / SUMMARY, summary)
    drawn, said = [(picture, name) for name, picture in pictures.items()], bullets([*missing, *molecule.notes])
    lead, view = f"{out.name}: {status}, {molecule.protocol.temperature:g} K", View(molecule.topology, shown, "°")
    write_page(out / "scan.html", "Torsion scan", lead, [Section("Profiles", _TEXT, said, drawn)], view)
    return RunResult(out, summary)


def _picture(profiles: Mapping[str, Arrays]) -> bytes:
    """PNG with a panel for each bond."""
    columns = min(len(profiles), 2)
    made, axes = figures.figure(-(-len(profiles) // columns), columns, width=4.6, height=3.2)
    for axis, (title, profile) in zip(axes, profiles.items(), strict=False):
        x = np.concatenate([profile["degrees"] + turn for turn in (-360, 0, 360)])
        for name, (style, colour) in _STYLES.items():
            if np.isfinite(profile[name]).any():
                y, errors = np.tile([profile[name], profile["standard_error"]], 3)
                bars = errors if name == "free_energy" else None
                axis.errorbar(x, y, bars, fmt=style, color=colour, label=name.replace("_", " "), ms=3)
        figures.degrees(axis, y=False)
        axis.set(title=title, xlabel="degrees", ylabel="kJ/mol", ylim=(-1, 1.3 * axis.get_ylim()[1]))
        axis.legend(fontsize=7, ncols=2, loc="upper center")
    for axis in axes[len(profiles) :]:
        axis.set_axis_off()
    return figures.png(made)
