"""The compiled kernel: where it is, what this processor can run, and how molecules are handed to it."""

from __future__ import annotations

import ctypes
import os
import sys
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmd.arrays import Floats, Ints
from latentmd.replicas.terms import COULOMB, OFFSET, Terms, fourier

#: Instruction sets that the kernel is compiled for, slowest first; the index is the kernel's own number.
VARIANTS = ("portable", "avx2", "avx512")
#: Largest relative error of a constrained length, and of its rate of change in 1/ps.
TOLERANCE = 1e-8

#: Environment variable that leaves the work to OpenMM where it is "off", to compare both.
SWITCH = "LATENTMD_REPLICAS"

FORCES, LANGEVIN, VERLET, CONSTRAIN, DRAW = range(5)

#: Arrays of `struct Molecule`, in its order.
_POINTERS = {
    np.int32: "bonds angles torsions torsion_terms constraints groups restraints",
    np.float32: "bond angle torsion_cosine torsion_sine torsion_constant pairs offset_radius scaled_radius radius "
    "born_charge",
    np.float64: "mass inverse_mass distance",
}
_TYPES: dict[str, type] = {name: kind for kind, names in _POINTERS.items() for name in names.split()}


class MoleculeStruct(ctypes.Structure):
    """`struct Molecule` of kernel.cpp."""

    _fields_ = [
        *((name, ctypes.c_int32) for name in ("n", "n_bonds", "n_angles", "n_torsions")),
        *((name, ctypes.c_int32) for name in ("n_groups", "n_restraints", "has_born", "momentum_every")),
        *((name, ctypes.c_void_p) for name in _TYPES),
        *((name, ctypes.c_double) for name in ("inverse_n", "inverse_total_mass", "tolerance")),
        *((name, ctypes.c_float) for name in ("born_factor", "surface")),
    ]


class BlockStruct(ctypes.Structure):
    """`struct Block` of kernel.cpp: arrays of all replicas, lanes last."""

    _fields_ = [(name, ctypes.c_void_p) for name in "x v f energy bias root_kT replica key targets stiffness".split()]


@dataclass(frozen=True)
class Library:
    """The loaded kernel: replicas in a block, largest periodicity of a torsion, this processor's instruction sets."""

    handle: ctypes.CDLL
    lanes: int
    periods: int
    variants: tuple[str, ...]


@cache
def library() -> Library | None:
    """Load the compiled kernel; None where it was not built (no compiler at installation) or is switched off."""
    if os.environ.get(SWITCH) == "off":
        return None
    for path in _compiled():
        try:
            handle = ctypes.CDLL(str(path))
        except OSError:
            continue
        integer, structs = ctypes.c_int32, (ctypes.POINTER(MoleculeStruct), ctypes.POINTER(BlockStruct))
        numbers = (integer, integer, integer, ctypes.c_uint64, ctypes.c_double, ctypes.c_double)
        handle.latentmd_run.argtypes = [integer, integer, *structs, *numbers]
        handle.latentmd_run.restype = None
        found = handle.latentmd_variants()
        names = tuple(name for bit, name in enumerate(VARIANTS) if found >> bit & 1)
        return Library(handle, handle.latentmd_lanes(), handle.latentmd_periods(), names)
    return None


def _compiled() -> list[Path]:
    """Compiled kernels beside this file; in a checkout that has none, those of an installed copy of the same source."""
    here = Path(str(files("latentmd.replicas")))
    found = []
    for folder in (here, *(Path(entry) / "latentmd" / "replicas" for entry in sys.path)):
        sources = [(here / "kernel" / name, folder / "kernel" / name) for name in ("kernel.cpp", "lanes.inc")]
        if all(other.is_file() and other.read_bytes() == mine.read_bytes() for mine, other in sources):
            found += sorted(folder.glob("_kernel*.so"))
    return found


class PreparedKernel:
    """A molecule in the kernel's layout, with the atoms (k, 4) of torsions to restrain; keeps its arrays alive."""

    arrays: dict[str, NDArray[np.generic]]

    def __init__(self, terms: Terms, restraints: Ints, momentum_every: int, periods: int) -> None:
        constraints, distance, groups = _groups(terms)
        arrays: dict[str, ArrayLike] = {
            "bonds": terms.bonds, "angles": terms.angles, "bond": terms.bond, "angle": terms.angle,
            "constraints": constraints, "groups": groups, "distance": distance, "restraints": restraints,
            "pairs": _pairs(terms), "mass": terms.mass, "inverse_mass": 1.0 / np.asarray(terms.mass, np.float64),
            **_series(terms, periods), **_born(terms),
        }  # fmt: skip
        self.arrays = {name: np.ascontiguousarray(arrays[name], kind) for name, kind in _TYPES.items()}
        solute, solvent, surface = terms.dielectric
        self.molecule = MoleculeStruct(
            n=terms.atoms, n_bonds=len(terms.bonds), n_angles=len(terms.angles),
            n_torsions=len(self.arrays["torsions"]), n_groups=len(groups) - 1, n_restraints=len(restraints),
            has_born=terms.born is not None, momentum_every=momentum_every, inverse_n=1.0 / terms.atoms,
            inverse_total_mass=1.0 / float(np.sum(terms.mass)), tolerance=TOLERANCE,
            born_factor=-COULOMB * (1 / solute - 1 / solvent), surface=4 * np.pi * surface,
            **{name: array.ctypes.data for name, array in self.arrays.items()},
        )  # fmt: skip


def _pairs(terms: Terms) -> Floats:
    """Coulomb factor, sigma squared and four epsilon of every pair, shape (atoms, atoms, 3)."""
    charge, sigma, epsilon = np.asarray(terms.nonbonded, np.float64).T
    out = np.empty((terms.atoms, terms.atoms, 3))
    out[..., 0] = COULOMB * np.outer(charge, charge)
    out[..., 1] = ((sigma[:, None] + sigma[None]) / 2) ** 2
    out[..., 2] = 4 * np.sqrt(np.outer(epsilon, epsilon))
    for (i, j), (product, length, depth) in zip(terms.exceptions, terms.exception, strict=True):
        out[i, j] = out[j, i] = COULOMB * product, length**2, 4 * depth
    return out


def _series(terms: Terms, periods: int) -> dict[str, ArrayLike]:
    """Torsions about the same four atoms as one Fourier series: k (1 + cos(n t - phase)) summed over n."""
    series = fourier(terms)
    values = np.zeros((len(series), 3, periods))
    for row, entries in zip(values, series.values(), strict=True):
        for n, *term in entries:
            row[:, n - 1] += term
    waves = {"torsion_cosine": values[:, 0], "torsion_sine": values[:, 1], "torsion_constant": values[:, 2].sum(axis=1)}
    terms_of = [np.flatnonzero(row[2]).max(initial=-1) + 1 for row in values]
    return {"torsions": np.array(list(series), dtype=np.int32).reshape(-1, 4), "torsion_terms": terms_of, **waves}


def _born(terms: Terms) -> dict[str, Floats]:
    born = np.tile([0.0, 0.15, 1.0], (terms.atoms, 1)) if terms.born is None else np.asarray(terms.born, np.float64)
    offset = born[:, 1] - OFFSET
    scaled = born[:, 2] * offset
    return {"born_charge": born[:, 0], "radius": born[:, 1], "offset_radius": offset, "scaled_radius": scaled}


def _groups(terms: Terms) -> tuple[Ints, Floats, Ints]:
    """Constraints sorted into connected groups, and where each group begins."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    pairs = np.asarray(terms.constraints, dtype=np.int32).reshape(-1, 2)
    graph = coo_array((np.ones(len(pairs)), tuple(pairs.T)), shape=(terms.atoms, terms.atoms))
    group = connected_components(graph, directed=False)[1][pairs[:, 0]]
    order = np.argsort(group, kind="stable")
    begins = np.flatnonzero(np.diff(group[order], prepend=-1))
    return pairs[order], np.asarray(terms.distance, np.float64)[order], np.append(begins, len(pairs))
