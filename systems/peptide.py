"""Build peptide backbones from sequence: the source of the bundled structures that are not published ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Backbone geometry in nm and degrees: Engh & Huber, Acta Cryst. A47, 392 (1991).
N_CA, CA_C, C_N, C_O, CA_CB = 0.1458, 0.1525, 0.1329, 0.1231, 0.1530
N_CA_C, CA_C_N, C_N_CA, CA_C_O, N_CA_CB = 111.0, 117.2, 121.7, 120.1, 110.5
_CB_IMPROPER = -122.6  # torsion of CB about CA measured from C, L-amino acids


def place_atom(
    a: NDArray[np.float64], b: NDArray[np.float64], c: NDArray[np.float64], bond: float, angle: float, torsion: float
) -> NDArray[np.float64]:
    """Position of the atom d bonded to c with angle b-c-d and torsion a-b-c-d, degrees (NeRF; Parsons et al. 2005)."""
    theta, phi = np.deg2rad(angle), np.deg2rad(torsion)
    bc = (c - b) / np.linalg.norm(c - b)
    normal = np.cross(b - a, bc)
    normal /= np.linalg.norm(normal)
    local = bond * np.array([-np.cos(theta), np.sin(theta) * np.cos(phi), np.sin(theta) * np.sin(phi)])
    return np.asarray(c + local[0] * bc + local[1] * np.cross(normal, bc) + local[2] * normal)


def backbone(sequence: list[str], phi: float = -75.0, psi: float = 145.0) -> list[tuple[str, str, NDArray[np.float64]]]:
    """Heavy backbone atoms (residue, atom, nm) of a peptide, every (phi, psi) alike; polyproline II has no clash."""
    atoms: list[tuple[str, str, NDArray[np.float64]]] = []
    # A virtual residue before the first gives the three atoms that the chain is grown from.
    n, ca, c = np.zeros(3), np.array([N_CA, 0, 0]), np.array([N_CA + 0.055, 0.142, 0])
    for index, name in enumerate(sequence):
        if index:
            before = place_atom(n, ca, c, bond=C_N, angle=CA_C_N, torsion=psi)
            alpha = place_atom(ca, c, before, bond=N_CA, angle=C_N_CA, torsion=180.0)
            n, ca, c = before, alpha, place_atom(c, before, alpha, bond=CA_C, angle=N_CA_C, torsion=phi)
        following = place_atom(n, ca, c, bond=C_N, angle=CA_C_N, torsion=psi)
        oxygen = place_atom(following, ca, c, bond=C_O, angle=CA_C_O, torsion=180.0)
        if name == "ACE":
            atoms += [(name, "CH3", ca), (name, "C", c), (name, "O", oxygen)]
        elif name == "NME":
            atoms += [(name, "N", n), (name, "C", ca)]
        else:
            atoms += [(name, "N", n), (name, "CA", ca), (name, "C", c), (name, "O", oxygen)]
            if name != "GLY":
                atoms.append((name, "CB", place_atom(c, n, ca, bond=CA_CB, angle=N_CA_CB, torsion=_CB_IMPROPER)))
    return atoms


def pdb_block(atoms: list[tuple[str, str, NDArray[np.float64]]]) -> str:
    """The atoms of `backbone` as PDB text (angstrom)."""
    lines, residue, previous = [], 0, None
    for serial, (name, atom, xyz) in enumerate(atoms, 1):
        if previous is None or atom in ("N", "CH3"):
            residue += 1
        previous = name
        x, y, z = 10 * xyz
        record = "HETATM" if name in ("ACE", "NME") else "ATOM  "
        lines.append(
            f"{record}{serial:5d}  {atom:<3s} {name} A{residue:4d}    {x:8.3f}{y:8.3f}{z:8.3f}  1.00  0.00"
            f"           {atom[0]}"
        )
    return "\n".join([*lines, "TER", "END", ""])
