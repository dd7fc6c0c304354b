"""Whether the terms of a System are those of the force field that a model was trained with: the first that differs.

Masses and constraints belong to the integration, not to the force field. Forces of other kinds than those that force
fields are made of (`_FORCE_FIELD`), such as restraints, CustomCVForce or PLUMED, are biases on top, and so are terms
that join the atoms to others.
"""

from __future__ import annotations

import copy
import io
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from itertools import pairwise

import numpy as np
import openmm
from openmm import app

from latentmd.model.manifest import Manifest
from latentmd.systems.own_force_field import is_own
from latentmd.systems.parametrise import load_force_field, with_native_obc2
from latentmd.systems.protocol import MoleculeError, Protocol, Solvent

#: Kinds of OpenMM forces that force fields are made of; the first five are compared term by term.
_FORCE_FIELD = tuple(
    "NonbondedForce HarmonicBondForce HarmonicAngleForce PeriodicTorsionForce GBSAOBCForce CustomGBForce "
    "CMAPTorsionForce RBTorsionForce CustomNonbondedForce GayBerneForce DrudeForce LCPOForce".split()
)
# Differences that files make by rounding: relative to the larger value, and absolute in the term's own unit.
_RELATIVE = 2e-4
_CHARGE, _LENGTH, _ANGLE, _ENERGY, _SPRING = 1e-4, 1e-4, 1e-3, 5e-3, 1.0  # e, nm, rad, kJ/mol, kJ/mol/nm² or rad²
_PAIR = (("sigma", "nm", _LENGTH), ("epsilon", "kJ/mol", _ENERGY))
_BORN = (("charge", "e"), ("radius", "nm"), ("scale", ""))
_DIELECTRIC = (("the solute dielectric", "", _RELATIVE), ("the solvent dielectric", "", _RELATIVE))
#: Tables of terms: how a value is called, and the name, unit and absolute tolerance of each value.
_TABLES: dict[str, tuple[str, tuple[tuple[str, str, float], ...]]] = {
    "particles": ("", (("charge", "e", _CHARGE), *_PAIR)),
    "pairs": ("the pair ", (("charge product", "e²", _CHARGE), *_PAIR)),
    "born": ("", tuple((f"generalised Born {what}", unit, _LENGTH) for what, unit in _BORN)),
    "bonds": ("the bond ", (("force constant", "kJ/mol/nm²", _SPRING), ("minimum", "nm", _LENGTH))),
    "angles": ("the angle ", (("force constant", "kJ/mol/rad²", _SPRING), ("minimum", "rad", _ANGLE))),
    "OBC2": ("OBC2", (*_DIELECTRIC, ("surface tension", "kJ/mol/nm²", _RELATIVE))),
}

Key = tuple[int, ...]
Table = dict[Key, tuple[float, ...]]


@dataclass
class SystemTerms:
    """The terms of some atoms of a System, by their numbers among these; lengths of constraints in nm.

    `tables` are those of `_TABLES`, empty without the force; `torsions` atoms and periodicity → complex amplitude,
    Σ k exp(i phase), kJ/mol; `cutoff` method and distance in words; `others` kinds that are not compared by terms.
    """

    tables: defaultdict[str, Table] = field(default_factory=lambda: defaultdict(dict))
    torsions: dict[Key, complex] = field(default_factory=dict)
    cutoff: str = ""
    others: dict[str, object] = field(default_factory=dict)
    constraints: dict[Key, float] = field(default_factory=dict)

    @property
    def solvent(self) -> str:
        """Implicit solvent in words."""
        other = "another generalised Born solvent (or OBC2 with other dielectrics or with salt)"
        rest = other if "CustomGBForce" in self.others else "no implicit solvent"
        return "implicit solvent OBC2" if self.tables["born"] else rest


def disagreeing_term(system: openmm.System, atoms: Sequence[int], manifest: Manifest) -> str:
    """The first term in which a System differs from a model's force field, as a sentence; empty where none does.

    The model's terms are those that the force field named in the manifest gives to its molecule. A model whose training
    data came with a System of their own names no such force field: nothing is compared then. Beside other atoms than
    those of the molecule (`atoms`) its own terms count, and implicit solvent where there is one: without, the
    surroundings are the solvent.
    """
    if is_own(manifest.force_field):
        return ""
    found, expected = read_terms(system, atoms), _model_terms(manifest)
    if len(atoms) < system.getNumParticles():
        found = replace(found, cutoff="")
        if found.solvent == SystemTerms().solvent:
            tables = {name: table for name, table in expected.tables.items() if name not in ("born", "OBC2")}
            others = {kind: value for kind, value in expected.others.items() if kind != "CustomGBForce"}
            expected = replace(expected, tables=defaultdict(dict, tables), others=others)
    return _Comparison(found, expected, manifest).first()


def mixing_fault(system: openmm.System, atoms: Sequence[int], manifest: Manifest) -> str:
    """Why a model's energy cannot take the place of a molecule's own in a System, as a sentence; empty where it can.

    The rest of the System meets the molecule's charges and Lennard-Jones parameters, which therefore must be the
    model's; its bonded terms are replaced. A model that was trained in implicit solvent holds the solvation energy.
    """
    found = read_terms(system, atoms)
    if manifest.solvent == "implicit" and found.solvent != SystemTerms().solvent:
        return (
            f"the System has implicit solvent, and the model's energy holds that of its training ("
            f"{', '.join(manifest.force_field)}) already, so that it would count twice: make the System without"
        )
    unusual = {kind: value for kind, value in found.others.items() if kind == "NonbondedForce"}
    if is_own(manifest.force_field) or not (found.tables["particles"] or unusual):
        return ""
    own, model = (
        SystemTerms(defaultdict(dict, particles=terms.tables["particles"])) for terms in (found, _model_terms(manifest))
    )
    return _Comparison(replace(own, others=unusual), model, manifest).first()


def _model_terms(manifest: Manifest) -> SystemTerms:
    """The terms of a model's molecule in its force field, without constraints."""
    return _terms(manifest.topology, tuple(manifest.force_field), manifest.solvent)


@lru_cache(maxsize=8)
def _terms(topology: str, force_field: tuple[str, ...], solvent: Solvent) -> SystemTerms:
    molecule = app.PDBFile(io.StringIO(topology)).topology
    field = load_force_field(Protocol(solvent, force_field))
    try:
        system = field.createSystem(molecule, nonbondedMethod=app.NoCutoff)
    except ValueError as error:
        raise MoleculeError(f"{', '.join(force_field)} does not describe the molecule of the model: {error}") from error
    return read_terms(system, range(molecule.getNumAtoms()))


def read_terms(system: openmm.System, atoms: Sequence[int]) -> SystemTerms:
    """The terms of some atoms, numbered in this order; those that join them to other atoms are left out."""
    place = {int(atom): k for k, atom in enumerate(atoms)}
    found = SystemTerms()
    for i in range(system.getNumConstraints()):
        a, b, length = system.getConstraintParameters(i)
        if key := _key((a, b), place):
            found.constraints[key] = length._value
    native = _native(system)  # kept, since its forces live no longer than it
    for force in native.getForces():
        kind = type(force).__name__
        if kind in _READERS:
            _READERS[kind](force, place, found)
        elif kind in _FORCE_FIELD or kind.startswith(("Amoeba", "Hippo")):
            found.others[kind] = _signature(force, place)
    return found


def _native(system: openmm.System) -> openmm.System:
    """The System with the native force in place of a CustomGBForce of OBC2, which is the same model."""
    if not any(isinstance(force, openmm.CustomGBForce) for force in system.getForces()):
        return system
    bare = openmm.System()
    for i in range(system.getNumParticles()):
        bare.addParticle(system.getParticleMass(i))
    for force in system.getForces():
        if type(force).__name__ in _FORCE_FIELD:
            bare.addForce(copy.deepcopy(force))
    return with_native_obc2(bare)


def _key(atoms: Sequence[int], place: dict[int, int]) -> Key:
    """Atoms of a term from its lower end on; empty where one of them is not among those looked at."""
    rows = tuple(place.get(atom, -1) for atom in atoms)
    return () if min(rows) < 0 else min(rows, rows[::-1])


def _values(row: Sequence[openmm.unit.Quantity | float]) -> tuple[float, ...]:
    return tuple(float(getattr(quantity, "_value", quantity)) for quantity in row)


def _read_nonbonded(force: openmm.NonbondedForce, place: dict[int, int], found: SystemTerms) -> None:
    offsets = force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets()
    if offsets or found.tables["particles"]:
        found.others["NonbondedForce"] = "a NonbondedForce with offsets" if offsets else "a second NonbondedForce"
        return
    found.tables["particles"] = {(k,): _values(force.getParticleParameters(atom)) for atom, k in place.items()}
    methods = ("", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")
    if method := methods[force.getNonbondedMethod()]:
        found.cutoff = f"{method} with a cutoff of {force.getCutoffDistance()._value:g} nm"
    for i in range(force.getNumExceptions()):
        a, b, *values = force.getExceptionParameters(i)
        if key := _key((a, b), place):
            found.tables["pairs"][key] = _values(values)


def _read_springs(name: str, count: int) -> Callable[[openmm.Force, dict[int, int], SystemTerms], None]:
    """Reader of harmonic terms of so many atoms; terms on the same atoms add up to one."""

    def read(force: openmm.Force, place: dict[int, int], found: SystemTerms) -> None:
        for i in range(force.getNumBonds() if count == 2 else force.getNumAngles()):
            row = force.getBondParameters(i) if count == 2 else force.getAngleParameters(i)
            key, (least, k) = _key(row[:count], place), _values(row[count:])
            if key and k:
                stiff, middle = found.tables[name].get(key, (0.0, 0.0))
                found.tables[name][key] = (stiff + k, (stiff * middle + k * least) / (stiff + k))

    return read


def _read_torsions(force: openmm.PeriodicTorsionForce, place: dict[int, int], found: SystemTerms) -> None:
    for i in range(force.getNumTorsions()):
        *atoms, periodicity, phase, k = force.getTorsionParameters(i)
        if key := _key(atoms, place):
            amplitude = k._value * np.exp(1j * phase._value)
            found.torsions[(*key, periodicity)] = found.torsions.get((*key, periodicity), 0.0) + amplitude


def _read_born(force: openmm.GBSAOBCForce, place: dict[int, int], found: SystemTerms) -> None:
    found.tables["born"] = {(k,): _values(force.getParticleParameters(atom)) for atom, k in place.items()}
    solvent = force.getSoluteDielectric(), force.getSolventDielectric(), force.getSurfaceAreaEnergy()
    found.tables["OBC2"] = {(): _values(solvent)}


_READERS: dict[str, Callable[[openmm.Force, dict[int, int], SystemTerms], None]] = {
    "NonbondedForce": _read_nonbonded,
    "HarmonicBondForce": _read_springs("bonds", 2),
    "HarmonicAngleForce": _read_springs("angles", 3),
    "PeriodicTorsionForce": _read_torsions,
    "GBSAOBCForce": _read_born,
}


def _signature(force: openmm.Force, place: dict[int, int]) -> object:
    """What a force of another kind holds, so far as it can be compared: generalised Born and CMAP, else its kind."""
    if isinstance(force, openmm.CustomGBForce):
        return (
            [tuple(force.getComputedValueParameters(i)) for i in range(force.getNumComputedValues())],
            [tuple(force.getEnergyTermParameters(i)) for i in range(force.getNumEnergyTerms())],
            [force.getGlobalParameterDefaultValue(i) for i in range(force.getNumGlobalParameters())],
            np.round([force.getParticleParameters(atom) for atom in place], 4).tolist(),
        )
    if isinstance(force, openmm.CMAPTorsionForce):
        rows = [force.getTorsionParameters(i) for i in range(force.getNumTorsions())]
        maps = [np.round(_values(force.getMapParameters(i)[1]), 3).tolist() for i in range(force.getNumMaps())]
        return sorted([place[a] for a in row[1:]] + maps[row[0]] for row in rows if set(row[1:]) <= set(place))
    return type(force).__name__


class _Comparison:
    """Terms of a System beside those of a model's force field."""

    def __init__(self, found: SystemTerms, expected: SystemTerms, manifest: Manifest) -> None:
        self.found, self.expected, self.labels = found, expected, manifest.chemistry().labels
        self.model = f"the model's force field ({', '.join(manifest.force_field)})"

    def first(self) -> str:
        """The first difference, as a sentence; empty where there is none."""
        return self._nonbonded() or self._solvent() or self._springs() or self._torsions() or self._other_kinds()

    def _nonbonded(self) -> str:
        a, b = self.found, self.expected
        if unusual := a.others.get("NonbondedForce"):
            return f"the System has {unusual}; {self.model} has none"
        if bool(a.tables["particles"]) != bool(b.tables["particles"]):
            have = ("a", "none") if a.tables["particles"] else ("no", "one")
            return f"the System has {have[0]} NonbondedForce; {self.model} has {have[1]}"
        if a.cutoff != b.cutoff:
            return f"the System has {a.cutoff or 'no cutoff'}; {self.model} has {b.cutoff or 'no cutoff'}"
        pairs = sorted({*a.tables["pairs"], *b.tables["pairs"]})
        ours, theirs = ({key: _exception(terms, key) for key in pairs} for terms in (a, b))
        return self._values_differ("particles") or self._values_differ("pairs", ours, theirs)

    def _solvent(self) -> str:
        if self.found.solvent != self.expected.solvent:
            return f"the System has {self.found.solvent}; {self.model} has {self.expected.solvent}"
        return self._values_differ("OBC2") or self._values_differ("born")

    def _springs(self) -> str:
        """Bonds and angles; constrained ones need none, where the constraint is at the minimum."""
        for name in ("bonds", "angles"):
            ours, theirs = dict(self.found.tables[name]), dict(self.expected.tables[name])
            unit = _TABLES[name][1][0][1]
            for key in sorted({*ours} ^ {*theirs}):
                what = _TABLES[name][0] + self._atoms(key)
                if key in ours:
                    return f"the System has {what} with {ours[key][0]:.6g} {unit}; {self.model} has none"
                if not self._constrained(key, theirs[key][1]):
                    return f"the System has no term of {what}; {self.model} has {theirs[key][0]:.6g} {unit}"
                del theirs[key]
            if fault := self._values_differ(name, ours, theirs):
                return fault
        return ""

    def _constrained(self, key: Key, least: float) -> bool:
        """Whether a bond is constrained at its minimum, or an angle by the three distances of its atoms."""
        constraints = self.found.constraints
        if len(key) == 2:
            return abs(constraints.get(key, np.inf) - least) < 10 * _LENGTH
        i, j, k = sorted(key)
        return {(i, j), (j, k), (i, k)} <= constraints.keys()

    def _torsions(self) -> str:
        """Proper torsions by their atoms; of impropers, whose order of atoms is a convention, by centre and ends."""
        ours, theirs = (self._summed(terms.torsions) for terms in (self.found, self.expected))
        for key in sorted({*ours, *theirs}):
            x, y = ours.get(key, 0.0), theirs.get(key, 0.0)
            if abs(x - y) > _ENERGY + _RELATIVE * max(abs(x), abs(y)):
                what = f"the torsion {self._atoms(key[:-1])} of periodicity {key[-1]}"
                if abs(abs(x) - abs(y)) > _ENERGY:
                    return self._differs(f"force constant of {what}", abs(x), abs(y), "kJ/mol")
                return self._differs(f"phase of {what}", float(np.angle(x)), float(np.angle(y)), "rad")
        return ""

    def _summed(self, torsions: dict[Key, complex]) -> dict[Key, complex]:
        found: dict[Key, complex] = defaultdict(complex)
        bonds = {frozenset(pair) for pair in self.expected.tables["bonds"]}
        for (*row, n), amplitude in torsions.items():
            atoms = tuple(row)
            if not all({a, b} in bonds for a, b in pairwise(atoms)):
                centre = next((c for c in atoms if all({c, a} in bonds for a in atoms if a != c)), None)
                if centre is not None:
                    atoms = (centre, *sorted(a for a in atoms if a != centre))
            found[(*atoms, n)] += amplitude
        return found

    def _other_kinds(self) -> str:
        """Forces that are not compared term by term."""
        for kind in sorted({*self.found.others, *self.expected.others}):
            ours, theirs = self.found.others.get(kind), self.expected.others.get(kind)
            if ours is None or theirs is None:
                have = ("has no", "has one") if ours is None else ("has a", "has none")
                return f"the System {have[0]} {kind} that acts on the molecule; {self.model} {have[1]}"
            if ours != theirs:
                return f"the {kind} of the System is not that of {self.model}"
        return ""

    def _values_differ(self, name: str, ours: Table | None = None, theirs: Table | None = None) -> str:
        """The first value of a table with the same keys in both that differs; sigma means nothing without epsilon."""
        called, columns = _TABLES[name]
        ours = self.found.tables[name] if ours is None else ours
        theirs = self.expected.tables[name] if theirs is None else theirs
        for key in sorted(theirs):
            for (what, unit, least), x, y in zip(columns, ours[key], theirs[key], strict=True):
                idle = what == "sigma" and not max(ours[key][2], theirs[key][2]) > 0
                if not idle and abs(x - y) > least + _RELATIVE * max(abs(x), abs(y)):
                    return self._differs(f"{what} of {called}{self._atoms(key)}", x, y, unit)
        return ""

    def _atoms(self, key: Key) -> str:
        return " ".join(self.labels[i] for i in key)

    def _differs(self, what: str, ours: float, theirs: float, unit: str) -> str:
        return f"{what} is {ours:.6g}{' ' + unit if unit else ''} in the System; {self.model} has {theirs:.6g}"


def _exception(terms: SystemTerms, key: Key) -> tuple[float, ...]:
    """Charge product, sigma and epsilon of a pair, by Lorentz and Berthelot where it is no exception."""
    if key in terms.tables["pairs"]:
        return terms.tables["pairs"][key]
    (q, s, e), (p, t, f) = (terms.tables["particles"][(i,)] for i in key)
    return q * p, (s + t) / 2, float(np.sqrt(e * f))
