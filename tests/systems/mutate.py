"""Seeded damage to files of molecules: bytes flipped, lines dropped or doubled, columns shifted, files cut short."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import openmm
from openmm import unit

from latentmd.systems.builder import Molecule, MoleculeError, build
from latentmd.systems.sanity import in_nm, named_charge

CASES = sorted(p for p in (Path(__file__).parent / "cases").iterdir() if p.suffix in (".pdb", ".cif", ".gro"))


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One to three random changes of a file."""
    for _ in range(int(rng.integers(1, 4))):
        if not data:
            return data
        lines = data.split(b"\n")
        kind, at = int(rng.integers(6)), int(rng.integers(len(lines)))
        if kind == 0:
            changed = bytearray(data)
            for place in rng.integers(len(data), size=int(rng.integers(1, 6))):
                changed[place] ^= 1 << int(rng.integers(8))
            data = bytes(changed)
        elif kind == 1:
            data = b"\n".join(lines[:at] + lines[at + int(rng.integers(1, 4)) :])
        elif kind == 2:
            cut = int(rng.integers(len(lines[at]) + 1))
            shifted = lines[at][:cut] + (b" " if rng.integers(2) else b"") + lines[at][cut + int(rng.integers(2)) :]
            data = b"\n".join([*lines[:at], shifted, *lines[at + 1 :]])
        elif kind == 3:
            data = b"\n".join([*lines[:at], lines[at], *lines[at:]])
        elif kind == 4:
            other = int(rng.integers(len(lines)))
            lines[at], lines[other] = lines[other], lines[at]
            data = b"\n".join(lines)
        else:
            data = (
                data[: int(rng.integers(1, len(data) + 1))] if rng.integers(4) == 0 else data.replace(b"ALA", b"GLY", 1)
            )
    return data


def fault(path: Path) -> tuple[str, Molecule | None]:
    """What is wrong with how a file is treated: nothing where it gives a sound molecule or one sentence."""
    try:
        molecule = build(path)
    except MoleculeError as error:
        return ("" if "\n" not in str(error) else "a message of several lines"), None
    except Exception as error:  # anything else is what is looked for
        return f"{type(error).__name__}: {error}", None
    xyz = in_nm(molecule.positions)
    for a, b in molecule.topology.bonds():
        if not np.linalg.norm(xyz[a.index] - xyz[b.index]) <= 0.25:
            return f"a bond of {np.linalg.norm(xyz[a.index] - xyz[b.index]):.3f} nm", molecule
    force = next(f for f in molecule.system.getForces() if isinstance(f, openmm.NonbondedForce))
    charges = [force.getParticleParameters(i)[0] for i in range(force.getNumParticles())]
    total = sum(charge.value_in_unit(unit.elementary_charge) for charge in charges)
    expected = named_charge(molecule.topology)
    if expected is not None and abs(total - expected) > 0.01:
        return f"charge {total:+.2f}, named {expected:+d}", molecule
    return "", molecule
