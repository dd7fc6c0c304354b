"""A force field is the terms of a System: those of some of its atoms, and the first in which two Systems differ.

Masses and constraints belong to the integration, not to the force field. Forces of other kinds than those that force
fields are made of (`FORCE_FIELD`), such as restraints, CustomCVForce or PLUMED, are biases on top, and so are terms
that join the atoms to others.
"""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import openmm

from latentmd.arrays import Doubles
from latentmd.systems.parametrise import with_native_obc2

#: Kinds of OpenMM forces that force fields are made of; the first five are compared term by term.
FORCE_FIELD = tuple(
    "NonbondedForce HarmonicBondForce HarmonicAngleForce PeriodicTorsionForce GBSAOBCForce CustomGBForce "
    "CMAPTorsionForce RBTorsionForce CustomNonbondedForce GayBerneForce DrudeForce LCPOForce".split()
)
_OTHERS = FORCE_FIELD[5:]

# Differences that files make by rounding: relative to the larger value, and absolute in the term's own unit.
_RELATIVE = 2e-4
_CHARGE, _LENGTH, _ANGLE, _ENERGY = 1e-4, 1e-4, 1e-3, 5e-3  # e, nm, rad, kJ/mol
_SPRING = 1.0  # kJ/mol/nm² or kJ/mol/rad²

Key = tuple[int, ...]
Row = Doubles | tuple[float, ...]


@dataclass
class SystemTerms:
    """The terms of some atoms of a System, by their numbers among these.

    Attributes:
        nonbonded: charge (e), sigma (nm), epsilon (kJ/mol), shape (atoms, 3); None without a NonbondedForce.
        exceptions: pair → charge product (e²), sigma (nm), epsilon (kJ/mol).
        cutoff: method and distance of nonbonded interactions, in words; empty where there is none.
        bonds, angles: atoms → force constant (kJ/mol/nm², kJ/mol/rad²) and minimum (nm, rad).
        torsions: atoms and periodicity → complex amplitude, Σ k exp(i phase), kJ/mol.
        born: charge (e), radius (nm), scale, shape (atoms, 3); None without GBSAOBCForce.
        dielectric: of solute and solvent, and the surface tension in kJ/mol/nm²; empty without GBSAOBCForce.
        others: kind of force → what it holds, for kinds that are not compared term by term.
    """

    nonbonded: Doubles | None = None
    exceptions: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    cutoff: str = ""
    bonds: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    angles: dict[Key, tuple[float, ...]] = field(default_factory=dict)
    torsions: dict[Key, complex] = field(default_factory=dict)
    born: Doubles | None = None
    dielectric: tuple[float, ...] = ()
    others: dict[str, Any] = field(default_factory=dict)
    constraints: dict[Key, float] = field(default_factory=dict)


def read_terms(system: openmm.System, atoms: Sequence[int]) -> SystemTerms:
    """The terms of some atoms, numbered in this order; those that join them to other atoms are left out."""
    place = {int(atom): k for k, atom in enumerate(atoms)}
    found = SystemTerms()
    for i in range(system.getNumConstraints()):
        a, b, length = system.getConstraintParameters(i)
        if a in place and b in place:
            found.constraints[_pair(place[a], place[b])] = length._value
    native = _native(system)  # kept, since its forces live no longer than it
    for force in native.getForces():
        kind = type(force).__name__
        if kind in _READERS:
            _READERS[kind](force, place, found)
        elif kind in _OTHERS or kind.startswith(("Amoeba", "Hippo")):
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
        if type(force).__name__ in FORCE_FIELD:
            bare.addForce(copy.deepcopy(force))
    return with_native_obc2(bare)


def _pair(i: int, j: int) -> Key:
    return (i, j) if i < j else (j, i)


def _value(quantity: openmm.unit.Quantity | float) -> float:
    return float(getattr(quantity, "_value", quantity))


def _read_nonbonded(force: openmm.NonbondedForce, place: dict[int, int], found: SystemTerms) -> None:
    offsets = force.getNumParticleParameterOffsets() or force.getNumExceptionParameterOffsets()
    if offsets or found.nonbonded is not None:
        found.others["NonbondedForce"] = "a NonbondedForce with offsets" if offsets else "a second NonbondedForce"
        return
    rows = [force.getParticleParameters(atom) for atom in place]
    found.nonbonded = np.array([[_value(x) for x in row] for row in rows], dtype=np.float64)
    methods = ("", "CutoffNonPeriodic", "CutoffPeriodic", "Ewald", "PME", "LJPME")
    if method := methods[force.getNonbondedMethod()]:
        found.cutoff = f"{method} with a cutoff of {_value(force.getCutoffDistance()):g} nm"
    for i in range(force.getNumExceptions()):
        a, b, *values = force.getExceptionParameters(i)
        if a in place and b in place:
            found.exceptions[_pair(place[a], place[b])] = tuple(_value(x) for x in values)


def _read_springs(name: str, count: int) -> Callable[[openmm.Force, dict[int, int], SystemTerms], None]:
    """Reader of harmonic terms of so many atoms; terms on the same atoms add up to one."""

    def read(force: openmm.Force, place: dict[int, int], found: SystemTerms) -> None:
        terms: dict[Key, tuple[float, ...]] = getattr(found, name)
        for i in range(force.getNumBonds() if count == 2 else force.getNumAngles()):
            row = force.getBondParameters(i) if count == 2 else force.getAngleParameters(i)
            key = _both_ways([place.get(atom, -1) for atom in row[:count]])
            least, k = (_value(x) for x in row[count:])
            if key and k:
                before = terms.get(key, (0.0, 0.0))
                terms[key] = (before[0] + k, (before[0] * before[1] + k * least) / (before[0] + k))

    return read


def _both_ways(atoms: list[int]) -> Key:
    """Atoms of a term from its lower end on; empty where one of them is not among those looked at."""
    return () if min(atoms) < 0 else min(tuple(atoms), tuple(reversed(atoms)))


def _read_torsions(force: openmm.PeriodicTorsionForce, place: dict[int, int], found: SystemTerms) -> None:
    for i in range(force.getNumTorsions()):
        *atoms, periodicity, phase, k = force.getTorsionParameters(i)
        key = _both_ways([place.get(atom, -1) for atom in atoms])
        if key:
            amplitude = _value(k) * np.exp(1j * _value(phase))
            found.torsions[(*key, periodicity)] = found.torsions.get((*key, periodicity), 0.0) + amplitude


def _read_born(force: openmm.GBSAOBCForce, place: dict[int, int], found: SystemTerms) -> None:
    rows = [force.getParticleParameters(atom) for atom in place]
    found.born = np.array([[_value(x) for x in row] for row in rows], dtype=np.float64)
    dielectric = force.getSoluteDielectric(), force.getSolventDielectric()
    found.dielectric = (*dielectric, _value(force.getSurfaceAreaEnergy()))


_READERS: dict[str, Callable[[openmm.Force, dict[int, int], SystemTerms], None]] = {
    "NonbondedForce": _read_nonbonded,
    "HarmonicBondForce": _read_springs("bonds", 2),
    "HarmonicAngleForce": _read_springs("angles", 3),
    "PeriodicTorsionForce": _read_torsions,
    "GBSAOBCForce": _read_born,
}


def _signature(force: openmm.Force, place: dict[int, int]) -> Any:
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
        maps = [
            np.round([_value(x) for x in force.getMapParameters(i)[1]], 3).tolist() for i in range(force.getNumMaps())
        ]
        return sorted([place[a] for a in row[1:]] + maps[row[0]] for row in rows if set(row[1:]) <= set(place))
    return type(force).__name__


def term_difference(found: SystemTerms, expected: SystemTerms, labels: Sequence[str], names: str) -> str:
    """The first term in which a System differs from a force field, as a sentence; empty where it is the same."""
    compare = _Comparison(found, expected, labels, f"the model's force field ({names})")
    return compare.nonbonded() or compare.solvent() or compare.springs() or compare.torsions() or compare.other_kinds()


@dataclass(frozen=True)
class _Comparison:
    found: SystemTerms
    expected: SystemTerms
    labels: Sequence[str]
    model: str

    def nonbonded(self) -> str:
        """Charges, Lennard-Jones parameters, exceptions and cutoff."""
        a, b = self.found, self.expected
        if unusual := a.others.get("NonbondedForce"):
            return f"the System has {unusual}; {self.model} has none"
        if a.nonbonded is None and b.nonbonded is None:
            return ""
        if a.nonbonded is None or b.nonbonded is None:
            have = ("a", "none") if b.nonbonded is None else ("no", "one")
            return f"the System has {have[0]} NonbondedForce; {self.model} has {have[1]}"
        if a.cutoff != b.cutoff:
            return f"the System has {a.cutoff or 'no cutoff'}; {self.model} has {b.cutoff or 'no cutoff'}"
        for label, ours, theirs in zip(self.labels, a.nonbonded, b.nonbonded, strict=True):
            if fault := self._pairwise(label, "charge", ours, theirs):
                return fault
        for key in sorted({*a.exceptions, *b.exceptions}):
            pair = self._exception(a, key), self._exception(b, key)
            if fault := self._pairwise(f"the pair {self._atoms(key)}", "charge product", *pair):
                return fault
        return ""

    def _pairwise(
        self, whose: str, charge: str, ours: Sequence[float] | Doubles, theirs: Sequence[float] | Doubles
    ) -> str:
        """Charge or product of charges, sigma and epsilon; nothing depends on sigma without epsilon."""
        names, tolerances = (charge, "sigma", "epsilon"), (_CHARGE, _LENGTH, _ENERGY)
        for what, x, y, least in zip(names, ours, theirs, tolerances, strict=True):
            if (what != "sigma" or max(ours[2], theirs[2]) > 0) and not _near(x, y, least):
                return self._differs(f"{what} of {whose}", x, y, _UNITS[what])
        return ""

    @staticmethod
    def _exception(terms: SystemTerms, key: Key) -> tuple[float, ...]:
        """Charge product, sigma and epsilon of a pair, by Lorentz and Berthelot where it is no exception."""
        if key in terms.exceptions:
            return terms.exceptions[key]
        assert terms.nonbonded is not None
        (q, s, e), (p, t, f) = terms.nonbonded[list(key)]
        return float(q * p), float(s + t) / 2, float(np.sqrt(e * f))

    def solvent(self) -> str:
        """Implicit solvent."""
        a, b = self.found, self.expected
        if (a.born is None) != (b.born is None) or ("CustomGBForce" in a.others) != ("CustomGBForce" in b.others):
            return f"the System has {_solvent(a)}; {self.model} has {_solvent(b)}"
        if a.born is None or b.born is None:
            return ""
        for what, x, y in zip(
            ("solute dielectric", "solvent dielectric", "surface tension"), a.dielectric, b.dielectric, strict=True
        ):
            if not _near(x, y, _RELATIVE):
                return self._differs(f"the {what} of OBC2", x, y, "kJ/mol/nm²" if what == "surface tension" else "")
        for i, (ours, theirs) in enumerate(zip(a.born, b.born, strict=True)):
            for what, x, y in zip(("charge", "radius", "scale"), ours, theirs, strict=True):
                if not _near(x, y, _LENGTH):
                    unit = {"charge": "e", "radius": "nm", "scale": ""}[what]
                    return self._differs(f"generalised Born {what} of {self.labels[i]}", x, y, unit)
        return ""

    def springs(self) -> str:
        """Bonds and angles; constrained ones need none, where the constraint is at the minimum."""
        for name, least, unit in (("bonds", _LENGTH, "nm"), ("angles", _ANGLE, "rad")):
            ours, theirs = getattr(self.found, name), getattr(self.expected, name)
            for key in sorted({*ours, *theirs}):
                what = f"the {name[:-1]} {self._atoms(key)}"
                if key not in theirs:
                    return f"the System has {what} with {ours[key][0]:.6g} kJ/mol/{unit}²; {self.model} has none"
                if key not in ours:
                    if self._constrained(key, theirs[key][1]):
                        continue
                    return f"the System has no term of {what}; {self.model} has {theirs[key][0]:.6g} kJ/mol/{unit}²"
                if not _near(ours[key][0], theirs[key][0], _SPRING):
                    return self._differs(f"force constant of {what}", ours[key][0], theirs[key][0], f"kJ/mol/{unit}²")
                if not _near(ours[key][1], theirs[key][1], least):
                    return self._differs(f"minimum of {what}", ours[key][1], theirs[key][1], unit)
        return ""

    def _constrained(self, key: Key, least: float) -> bool:
        """Whether a bond is constrained at its minimum, or an angle by the three distances of its atoms."""
        constraints = self.found.constraints
        if len(key) == 2:
            return abs(constraints.get(key, np.inf) - least) < 10 * _LENGTH
        pairs = [_pair(key[i], key[j]) for i, j in ((0, 1), (1, 2), (0, 2))]
        return all(pair in constraints for pair in pairs)

    def torsions(self) -> str:
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
        bonds = self.expected.bonds
        for (i, j, k, last, n), amplitude in torsions.items():
            atoms: Key = (i, j, k, last)
            if not all(_pair(a, b) in bonds for a, b in ((i, j), (j, k), (k, last))):
                centre = next((c for c in atoms if all(_pair(c, a) in bonds for a in atoms if a != c)), None)
                if centre is not None:
                    atoms = (centre, *sorted(a for a in atoms if a != centre))
            found[(*atoms, n)] += amplitude
        return found

    def other_kinds(self) -> str:
        """Forces that are not compared term by term."""
        for kind in sorted({*self.found.others, *self.expected.others}):
            ours, theirs = self.found.others.get(kind), self.expected.others.get(kind)
            if ours is None or theirs is None:
                have = ("has no", "has one") if ours is None else ("has a", "has none")
                return f"the System {have[0]} {kind} that acts on the molecule; {self.model} {have[1]}"
            if ours != theirs:
                return f"the {kind} of the System is not that of {self.model}"
        return ""

    def _atoms(self, key: Key) -> str:
        return " ".join(self.labels[i] for i in key)

    def _differs(self, what: str, ours: float, theirs: float, unit: str) -> str:
        return f"{what} is {ours:.6g}{' ' + unit if unit else ''} in the System; {self.model} has {theirs:.6g}"


_UNITS = {"charge": "e", "charge product": "e²", "sigma": "nm", "epsilon": "kJ/mol"}


def _solvent(terms: SystemTerms) -> str:
    if terms.born is not None:
        return "implicit solvent OBC2"
    if "CustomGBForce" in terms.others:
        return "another generalised Born solvent (or OBC2 with other dielectrics or with salt)"
    return "no implicit solvent"


def _near(a: float, b: float, least: float) -> bool:
    return bool(abs(a - b) <= least + _RELATIVE * max(abs(a), abs(b)))
