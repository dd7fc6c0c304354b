"""Trajectories of alanine dipeptide as many programs write them, and damage to them, for tests and fuzzing."""

from __future__ import annotations

import bz2
import gzip
import struct
import warnings
from collections.abc import Callable
from pathlib import Path

import ase.io
import mdtraj
import numpy as np
from openmm import app
from scipy.io import netcdf_file

from latentmd.arrays import Floats

PDB = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
FRAMES, ATOMS, STEP = 6, 22, 0.5
TOPOLOGY = mdtraj.load_topology(str(PDB))
SYMBOLS = [atom.element.symbol for atom in TOPOLOGY.atoms]


def frames() -> Floats:
    """Six frames of alanine dipeptide near one corner of space, nm."""
    noise = np.random.default_rng(0).normal(0, 0.002, (FRAMES, ATOMS, 3))
    return np.asarray(mdtraj.load(str(PDB)).xyz + noise, dtype=np.float32)


XYZ = frames()
LOW = XYZ.min(axis=(0, 1))


def saved(path: Path, xyz: Floats = XYZ, box: float | None = None, times: bool = True) -> None:
    """A file as mdtraj writes it, with a cubic box of that many nm."""
    cells = {} if box is None else {
        "unitcell_lengths": np.full((len(xyz), 3), box), "unitcell_angles": np.full((len(xyz), 3), 90.0)
    }  # fmt: skip
    time = STEP * np.arange(len(xyz)) if times else np.zeros(len(xyz))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        mdtraj.Trajectory(xyz, TOPOLOGY, time=time, **cells).save(str(path))


def dcd(path: Path, order: str = "<", cell: str = "charmm", frames_stated: int = FRAMES, delta: float = 20.454) -> None:
    """A DCD file as CHARMM, NAMD or X-PLOR write it."""
    control = [frames_stated, 0, 1, FRAMES, 0, 0, 0, 0, 0]
    tail = [int(cell != "xplor"), 0, 0, 0, 0, 0, 0, 0, 0, 24 if cell != "xplor" else 0]
    record = b"CORD" + struct.pack(f"{order}9if10i", *control, delta, *tail)
    title = struct.pack(f"{order}i", 1) + b"REMARKS ".ljust(80)

    def block(data: bytes) -> bytes:
        return struct.pack(f"{order}i", len(data)) + data + struct.pack(f"{order}i", len(data))

    sides = {"charmm": [40, 0, 40, 0, 0, 40], "namd": [40, 90, 40, 90, 90, 40], "zero": [0] * 6}.get(cell)
    body = block(record) + block(title) + block(struct.pack(f"{order}i", ATOMS))
    for frame in XYZ:
        body += b"" if sides is None else block(struct.pack(f"{order}6d", *sides))
        body += b"".join(block((10 * frame[:, k]).astype(f"{order}f4").tobytes()) for k in range(3))
    path.write_bytes(body)


def netcdf(path: Path, time: str | None, box: float | None = None) -> None:
    """An Amber NetCDF file; its times are "good", "zero" or not there."""
    with netcdf_file(str(path), "w", version=2) as file:
        file.Conventions, file.ConventionVersion = "AMBER", "1.0"
        file.createDimension("frame", None)
        for name, size in (("atom", ATOMS), ("spatial", 3), ("cell_spatial", 3), ("cell_angular", 3)):
            file.createDimension(name, size)
        if time is not None:
            file.createVariable("time", "f4", ("frame",))[:] = (STEP if time == "good" else 0.0) * np.arange(FRAMES)
        file.createVariable("coordinates", "f4", ("frame", "atom", "spatial"))[:] = 10 * XYZ
        if box is not None:
            file.createVariable("cell_lengths", "f8", ("frame", "cell_spatial"))[:] = np.full((FRAMES, 3), 10 * box)
            file.createVariable("cell_angles", "f8", ("frame", "cell_angular"))[:] = np.full((FRAMES, 3), 90.0)


def lammps(
    path: Path, columns: str = "id type x y z", *, scale: float = 10.0, head: str = "", time: bool = False
) -> None:
    """A LAMMPS dump with its atoms in no order, in a box of 4 nm."""
    rng, text = np.random.default_rng(1), []
    for k, frame in enumerate(XYZ):
        text += ([f"ITEM: UNITS\n{head}"] if head and not k else []) + [f"ITEM: TIMESTEP\n{1000 * k}"]
        text += [f"ITEM: TIME\n{500 * k}"] if time else []
        text += [f"ITEM: NUMBER OF ATOMS\n{ATOMS}", "ITEM: BOX BOUNDS pp pp pp", *3 * [f"{-2 * scale} {2 * scale}"]]
        text.append(f"ITEM: ATOMS {columns}")
        for i in rng.permutation(ATOMS):
            values = dict(zip("xyz", frame[i] * scale, strict=True))
            values |= {f"{c}s": (v + 2 * scale) / (4 * scale) for c, v in values.items()}
            values |= {f"{c}u": values[c] for c in "xyz"}
            names = {"id": i + 1, "type": 1, "element": SYMBOLS[i]}
            text.append(" ".join(str(names[c]) if c in names else f"{values[c]:.6f}" for c in columns.split()))
    path.write_text("\n".join(text) + "\n")


def xyz_text(comment: str = "", labels: list[str] = SYMBOLS, row: str = "{} {:.4f} {:.4f} {:.4f}") -> str:
    """An XYZ file."""
    return "".join(
        f"{ATOMS}\n{comment}\n" + "".join(row.format(s, *(10 * p)) + "\n" for s, p in zip(labels, f, strict=True))
        for f in XYZ
    )


def extxyz(path: Path) -> None:
    """As ASE writes it, with a cell and momenta."""
    atoms = [ase.Atoms(SYMBOLS, 10 * f, cell=[40, 40, 40], pbc=True, momenta=f) for f in XYZ]
    ase.io.write(str(path), atoms, format="extxyz")


def arc(path: Path, box: bool) -> None:
    """A TINKER archive."""
    text = ""
    for frame in XYZ:
        text += f"{ATOMS:6d}  alanine dipeptide\n" + (" 40.0 40.0 40.0 90.0 90.0 90.0\n" if box else "")
        rows = [f"{i + 1:6d}  {s}  {p[0]:12.6f}{p[1]:12.6f}{p[2]:12.6f} 1 2 3\n"
                for i, (s, p) in enumerate(zip(SYMBOLS, 10 * frame, strict=True))]  # fmt: skip
        text += "".join(rows)
    path.write_text(text)


def mdcrd(path: Path, box: bool) -> None:
    """An Amber mdcrd file."""
    text = "title\n"
    for frame in XYZ:
        flat = [f"{v:8.3f}" for v in 10 * frame.ravel()]
        text += "".join("".join(flat[i : i + 10]) + "\n" for i in range(0, len(flat), 10))
        text += "  40.000  40.000  40.000\n" if box else ""
    path.write_text(text)


def packed(path: Path, pack: Callable[[bytes], bytes]) -> None:
    """A multi-model PDB file, packed."""
    saved(path.with_name("plain.pdb"))
    path.write_bytes(pack(path.with_name("plain.pdb").read_bytes()))


def zipped(path: Path) -> None:
    """Pack the file of that name without .gz."""
    path.write_bytes(gzip.compress(path.with_suffix("").read_bytes()))


def gro(path: Path, times: bool) -> None:
    """A trajectory of GROMACS structures."""
    saved(path, box=4.0)
    if not times:
        path.write_text("\n".join(x.split(" t= ")[0] if " t= " in x else x for x in path.read_text().split("\n")))


def cif(path: Path) -> None:
    """A mmCIF file of several models, as OpenMM writes it."""
    topology = app.PDBFile(str(PDB)).topology
    with path.open("w") as out:
        app.PDBxFile.writeHeader(topology, out)
        for number, frame in enumerate(XYZ, 1):
            app.PDBxFile.writeModel(topology, 10 * frame, out, modelIndex=number)


#: name of a file, how it is written, and whether it carries times
READ: dict[str, tuple[str, Callable[[Path], None], bool]] = {
    "xtc": ("a.xtc", saved, True),
    "xtc in capitals": ("A.XTC", lambda p: (saved(p.with_suffix(".xtc")), p.with_suffix(".xtc").rename(p))[0], True),
    "xtc in a box of 1 Å": ("a.xtc", lambda p: saved(p, box=0.1), True),
    "xtc of times 0": ("a.xtc", lambda p: saved(p, times=False), False),
    "xtc cut by its box": ("a.xtc", lambda p: saved(p, np.mod(XYZ - LOW - 0.2, 2.0).astype(np.float32), 2.0), True),
    "trr": ("a.trr", saved, True),
    "trr in a box of 1 Å": ("a.trr", lambda p: saved(p, box=0.1), True),
    "trr in a box of 0": ("a.trr", lambda p: saved(p, box=0.0), True),
    "dcd of mdtraj": ("a.dcd", saved, False),
    "dcd in a box of 1 Å": ("a.dcd", lambda p: saved(p, box=0.1), False),
    "dcd cut by its box": ("a.dcd", lambda p: saved(p, np.mod(XYZ - LOW - 0.2, 2.0).astype(np.float32), 2.0), False),
    "dcd of CHARMM": ("a.dcd", dcd, False),
    "dcd of NAMD": ("A.DCD", lambda p: dcd(p, cell="namd"), False),
    "dcd of X-PLOR": ("a.dcd", lambda p: dcd(p, cell="xplor"), False),
    "dcd of a big-endian machine": ("a.dcd", lambda p: dcd(p, order=">"), False),
    "dcd with a box of zeros": ("a.dcd", lambda p: dcd(p, cell="zero"), False),
    "NetCDF": ("a.nc", lambda p: netcdf(p, "good", 4.0), True),
    "NetCDF without times": ("a.nc", lambda p: netcdf(p, None), False),
    "NetCDF of times 0": ("a.ncdf", lambda p: netcdf(p, "zero"), False),
    "NetCDF in a box of 0": ("a.nc", lambda p: netcdf(p, "good", 0.0), True),
    "NetCDF in a box of 1 Å": ("a.netcdf", lambda p: netcdf(p, "good", 0.1), True),
    "mdcrd": ("a.mdcrd", lambda p: mdcrd(p, False), False),
    "mdcrd with a box": ("a.crd", lambda p: mdcrd(p, True), False),
    "LAMMPS": ("a.lammpstrj", lammps, False),
    "LAMMPS, scaled": ("a.lammpstrj", lambda p: lammps(p, "id type xs ys zs"), False),
    "LAMMPS, unwrapped": ("a.lammpstrj", lambda p: lammps(p, "id element xu yu zu"), False),
    "LAMMPS, both": ("a.lammpstrj", lambda p: lammps(p, "id xs ys zs xu yu zu"), False),
    "LAMMPS in real units and times": ("a.lammpstrj", lambda p: lammps(p, head="real", time=True), True),
    "LAMMPS in nano units": ("a.lammpstrj", lambda p: lammps(p, scale=1.0, head="nano"), False),
    "LAMMPS, packed": ("a.lammpstrj.gz", lambda p: (lammps(p.with_suffix("")), zipped(p))[0], False),
    "XYZ": ("a.xyz", lambda p: p.write_text(xyz_text()), False),
    "XYZ with comments": ("a.xyz", lambda p: p.write_text(xyz_text(" i = 3, time = 1.500, E = -1") + "\n\n"), False),
    "XYZ with types": ("a.xyz", lambda p: p.write_text(xyz_text(labels=["1"] * ATOMS)), False),
    "XYZ with names": ("a.xyz", lambda p: p.write_text(xyz_text(labels=[a.name for a in TOPOLOGY.atoms])), False),
    "XYZ in capitals": ("a.XYZ", lambda p: p.write_text(xyz_text()), False),
    "XYZ, packed": ("a.xyz.gz", lambda p: p.write_bytes(gzip.compress(xyz_text().encode())), False),
    "XYZ, bzip2": ("a.xyz.bz2", lambda p: p.write_bytes(bz2.compress(xyz_text().encode())), False),
    "extended XYZ": ("a.extxyz", extxyz, False),
    "extended XYZ in another order": (
        "a.xyz",
        lambda p: p.write_text(xyz_text("Properties=id:I:1:species:S:1:pos:R:3", row="7 {} {:.4f} {:.4f} {:.4f}")),
        False,
    ),
    "TINKER": ("a.arc", lambda p: arc(p, False), False),
    "TINKER with a box": ("a.arc", lambda p: arc(p, True), False),
    "PDB": ("a.pdb", saved, False),
    "PDB with CRYST1": ("a.pdb", lambda p: saved(p, box=4.0), False),
    "PDB with CRYST1 of 1 Å": ("a.pdb", lambda p: saved(p, box=0.1), False),
    "PDB, packed": ("a.pdb.gz", lambda p: packed(p, gzip.compress), False),
    "PDB, bzip2": ("a.PDB.BZ2", lambda p: packed(p, bz2.compress), False),
    "mmCIF": ("a.cif", cif, False),
    "GRO": ("a.gro", lambda p: gro(p, True), True),
    "GRO without times": ("a.gro", lambda p: gro(p, False), False),
    "HDF5": ("a.h5", saved, True),
    "array": ("a.npy", lambda p: np.save(p, XYZ), False),
    "array, packed": ("a.npy.gz", lambda p: (np.save(p.with_suffix(""), XYZ), zipped(p))[0], False),
}  # fmt: skip


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """One random change of a file: bits flipped, an end cut off, a piece left out, doubled or overwritten."""
    kind, at, length = max(0, int(rng.integers(-3, 5))), int(rng.integers(len(data))), int(rng.integers(1, 200))
    if kind == 0:
        changed = bytearray(data)
        for place in rng.integers(len(data), size=int(rng.integers(1, 4))):
            changed[place] ^= 1 << int(rng.integers(8))
        return bytes(changed)
    if kind == 1:
        return data[:at]
    if kind == 2:
        return data[:at] + data[at + length :]
    if kind == 3:
        return data[:at] + data[at : at + length] + data[at:]
    return data[:at] + bytes(rng.integers(256, size=length, dtype=np.uint8)) + data[at + length :]
