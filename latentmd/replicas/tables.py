"""Molecules as the flat tables that the CUDA kernel reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from latentmd.arrays import Floats, Ints
from latentmd.replicas.terms import COULOMB, OFFSET, Terms

MAX_ATOMS = 256  # indices of atoms are bytes
_MASK_WORDS = MAX_ATOMS // 32


@dataclass(frozen=True)
class Tables:
    """The kernel's tables for a list of molecules, one after the other; see `dynamics.cu` for the columns."""

    molecules: Ints
    atom_a: Floats
    atom_b: Floats
    mask: Ints
    bond: Floats
    angle: Floats
    torsion: Ints
    coefficient: Floats
    exception: Floats
    cluster: Ints
    distance: Floats


def tables(molecules: Sequence[Terms]) -> Tables:
    """Lay out molecules for the kernel.

    Raises:
        ValueError: a molecule has more than 256 atoms, or constraints that are not those of single hydrogens.
    """
    parts = [_molecule(molecule) for molecule in molecules]
    heads = np.zeros((len(molecules), 16), np.int32)
    begin = dict.fromkeys(_ROWS, 0)
    for head, part, terms in zip(heads, parts, molecules, strict=True):
        head[0], head[1] = terms.atoms, begin["atom_a"]
        for column, name in enumerate(("bond", "angle"), 1):
            head[2 * column : 2 * column + 2] = len(part[name]), begin[name]
        head[6:9] = len(part["torsion"]), begin["torsion"], begin["coefficient"]
        head[9:11] = len(part["exception"]), begin["exception"]
        head[11:13] = len(part["cluster"]), begin["cluster"]
        head[13] = terms.born is not None
        head[14] = np.float32(4 * np.pi * terms.dielectric[2]).view(np.int32)
        for name in _ROWS:
            begin[name] += len(part[name])
    joined = {name: np.ascontiguousarray(np.concatenate([part[name] for part in parts])) for name in _ROWS}
    return Tables(molecules=heads, **joined)


_ROWS = tuple(field.name for field in fields(Tables) if field.name != "molecules")


def _molecule(terms: Terms) -> dict[str, Floats | Ints]:
    n = terms.atoms
    if n > MAX_ATOMS:
        raise ValueError(f"the molecule has {n} atoms; expected at most {MAX_ATOMS}: use OpenMM for larger ones")
    charge, sigma, epsilon = np.asarray(terms.nonbonded, np.float64).T
    solute, solvent, _ = terms.dielectric
    born = np.zeros((n, 3)) if terms.born is None else np.asarray(terms.born, np.float64)
    offset_radius = np.where(born[:, 1] > 0, born[:, 1] - OFFSET, 1.0)
    screening = np.sqrt(COULOMB * (1 / solute - 1 / solvent))
    torsion, coefficient = _torsions(terms)
    cluster, distance = _clusters(terms)
    return {
        "atom_a": _rows(np.sqrt(COULOMB) * charge, sigma / 2, 2 * np.sqrt(epsilon), screening * born[:, 0]),
        "atom_b": _rows(offset_radius, born[:, 2] * offset_radius, born[:, 1], 1 / np.asarray(terms.mass, np.float64)),
        "mask": _mask(n, terms.exceptions),
        "bond": _packed(terms.bonds, terms.bond),
        "angle": _packed(terms.angles, terms.angle),
        "torsion": torsion,
        "coefficient": coefficient,
        "exception": _exceptions(terms),
        "cluster": cluster,
        "distance": distance,
    }


def _rows(*columns: Floats) -> Floats:
    """Columns side by side in single precision, filled up to four."""
    out = np.zeros((len(columns[0]), 4), np.float32)
    for k, column in enumerate(columns):
        out[:, k] = column
    return out


def _bytes(atoms: Ints) -> Ints:
    """Up to four indices of atoms in one 32-bit word."""
    words = np.zeros(len(atoms), np.uint32)
    for k in range(atoms.shape[1]):
        words |= atoms[:, k].astype(np.uint32) << np.uint32(8 * k)
    return words


def _packed(atoms: Ints, values: Floats) -> Floats:
    """Rows of four floats of which the first holds the atoms, bit for bit."""
    out = np.zeros((len(atoms), 4), np.float32)
    if len(atoms):
        out[:, 0] = _bytes(np.asarray(atoms)).view(np.float32)
        out[:, 1 : 1 + values.shape[1]] = values
    return out


def _exceptions(terms: Terms) -> Floats:
    values = np.array(terms.exception, np.float64).reshape(-1, 3)
    values[:, 0] *= COULOMB
    values[:, 2] *= 4
    here = (values[:, 0] != 0) | (values[:, 2] != 0)
    return _packed(np.asarray(terms.exceptions).reshape(-1, 2)[here], values[here])


def _mask(atoms: int, pairs: Ints) -> Ints:
    """Bits of the partners without Lennard-Jones and Coulomb terms, the atom itself among them."""
    out = np.zeros((atoms, MAX_ATOMS), np.bool_)
    out[np.arange(atoms), np.arange(atoms)] = True
    for i, j in np.asarray(pairs).reshape(-1, 2):
        out[i, j] = out[j, i] = True
    bits = np.packbits(out, axis=1, bitorder="little")
    return np.ascontiguousarray(bits).view("<u4").astype(np.uint32)


def _torsions(terms: Terms) -> tuple[Ints, Floats]:
    """Terms about the same four atoms become one Fourier series."""
    series: dict[tuple[int, ...], list[tuple[float, float, float]]] = {}
    for (*atoms, periodicity), (phase, k) in zip(np.asarray(terms.torsions).tolist(), terms.torsion, strict=True):
        series.setdefault(tuple(atoms), []).append((periodicity, float(phase), float(k)))
    rows = np.zeros((len(series), 4), np.int32)
    coefficients: list[tuple[float, float, float, float]] = []
    for row, (atoms, entries) in zip(rows, series.items(), strict=True):
        row[0] = _bytes(np.array([atoms])).view(np.int32)[0]
        row[1:3] = len(coefficients), len(entries)
        coefficients += [(n, k * np.cos(phase), k * np.sin(phase), k) for n, phase, k in sorted(entries)]
    return rows, np.array(coefficients, np.float32).reshape(-1, 4)


def _clusters(terms: Terms) -> tuple[Ints, Floats]:
    """Constraints as stars: one centre and up to four atoms that hang on nothing else."""
    pairs = np.asarray(terms.constraints).reshape(-1, 2).astype(int)
    degree = np.bincount(pairs.ravel(), minlength=terms.atoms)
    stars: dict[int, list[tuple[int, float]]] = {}
    for (i, j), length in zip(pairs.tolist(), np.asarray(terms.distance, np.float64), strict=True):
        lighter, heavier = (i, j) if (degree[i], terms.mass[i]) < (degree[j], terms.mass[j]) else (j, i)
        stars.setdefault(heavier, []).append((lighter, float(length)))
    leaves = [leaf for star in stars.values() for leaf, _ in star]
    if len(set(leaves)) < len(leaves) or set(leaves) & set(stars) or any(len(star) > 4 for star in stars.values()):
        raise ValueError(
            "the constraints form rings, chains or stars of more than four; expected those of single hydrogens to "
            "one atom (app.HBonds without water)"
        )
    cluster, distance = np.zeros((len(stars), 4), np.int32), np.ones((len(stars), 4), np.float32)
    for k, (centre, star) in enumerate(stars.items()):
        atoms = np.array([[centre, *(leaf for leaf, _ in star)]])
        cluster[k, 0] = _bytes(atoms[:, :4]).view(np.int32)[0]
        cluster[k, 1] = (atoms[0, 4] if len(star) == 4 else 0) | len(star) << 8
        distance[k, : len(star)] = [length for _, length in star]
    return cluster, distance
