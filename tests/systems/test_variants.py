"""Ordinary files written in unusual ways, and damaged ones: the same molecule as ever, or one sentence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from latentmd.molecule.chemistry import fingerprint
from latentmd.systems.builder import Molecule, MoleculeError, build
from latentmd.systems.bundled import bundled

CASES = Path(__file__).parent / "cases"
LINES = [line for line in bundled("chignolin").read_text().splitlines() if line[:6] in ("ATOM  ", "HETATM")]
GRO = (CASES / "ala.gro").read_text().splitlines()
CIF = (CASES / "ala.cif").read_text()
CYCLO = [line for line in (CASES / "cyclo_conect.pdb").read_text().splitlines() if line[:4] == "ATOM"]


def number(line: str) -> int:
    return int(line[22:26])


def name(line: str) -> str:
    return line[12:16].strip()


def xyz(line: str) -> list[float]:
    return [float(line[start : start + 8]) for start in (30, 38, 46)]


def placed(line: str, position: object) -> str:
    return line[:30] + "".join(f"{float(x):8.3f}" for x in position) + line[54:]  # type: ignore[attr-defined]


def moved(line: str, *by: float) -> str:
    return placed(line, np.array(xyz(line)) + by)


def renumbered(line: str, text: str) -> str:
    return line[:22] + text + line[26:]


def old_name(line: str) -> str:
    """Names of hydrogens with the last digit first, as in PDB files before 2007."""
    called = name(line)
    if called == "H":
        called = "HN"
    elif called[0] == "H" and called[-1].isdigit() and len(called) > 2:
        called = called[-1] + called[:-1]
    return f"{line[:12]}{called:<4s}{line[16:]}"


def pdb(lines: list[str]) -> str:
    return "\n".join(lines) + "\nEND\n"


def models(begin: str, by: float) -> str:
    second = [moved(line, by, by, by) for line in LINES]
    ended = "ENDMDL\n" if begin else "END\n"
    return begin + pdb(LINES).replace("END\n", ended) + begin + pdb(second).replace("END\n", ended)


def alternate() -> str:
    """One atom of a side chain in two places, the second of higher occupancy."""
    lines = []
    for line in LINES:
        if number(line) == 6 and name(line) == "OG1":
            lines += [line[:16] + "A" + line[17:54] + "  0.40" + line[60:]]
            line = moved(line[:16] + "B" + line[17:54] + "  0.60" + line[60:], 0.1, 0, 0)
        lines.append(line)
    return pdb(lines)


def hexadecimal() -> str:
    lines = [f"{line[:6]}{0xA0000 + i:5X}{line[11:]}" for i, line in enumerate(LINES)]
    return pdb([*lines, "CONECTA0000A0001"])


def insertion() -> str:
    codes = {n: f"{min(n, 4):4d}" + ("" if n < 5 else chr(ord("A") + n - 5)) for n in range(1, 11)}
    return pdb([f"{line[:22]}{codes[number(line)]:<5s}{line[27:]}" for line in LINES])


SAME: dict[str, str | bytes] = {
    "BOM and CRLF": ("\ufeff" + pdb(LINES)).replace("\n", "\r\n"),
    "lower case": pdb(LINES).lower(),
    "no elements": pdb([line[:66] for line in LINES]),
    "identifier and line number at the end": pdb([f"{line[:66]}      1CRN{i:4d}" for i, line in enumerate(LINES)]),
    "old hydrogen names": pdb([old_name(line) for line in LINES]),
    "hexadecimal serials": hexadecimal(),
    "serials that overflowed": pdb([line[:6] + "*****" + line[11:] for line in LINES]),
    "negative numbers": pdb([renumbered(line, f"{number(line) - 5:4d}") for line in LINES]),
    "hybrid-36 numbers": pdb([renumbered(line, f"A{number(line):03d}") for line in LINES]),
    "insertion codes": insertion(),
    "box of zero size": "CRYST1    0.000    0.000    0.000  90.00  90.00  90.00 P 1           1\n" + pdb(LINES),
    "alternate locations": alternate(),
    "models without MODEL, overlapping": models("", 0.4),
    "models without MODEL, apart": models("", 30.0),
    "MODEL without numbers": models("MODEL\n", 0.4),
    "a metal ion": pdb([*LINES, "HETATM  900 ZN    ZN A 101      30.000  12.000  12.000  1.00  0.00          ZN"]),
    "gzip": gzip.compress(pdb(LINES).encode()),
}  # fmt: skip


def write(content: str | bytes, path: Path) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


@pytest.fixture(scope="module")
def expected() -> str:
    return fingerprint(build(bundled("chignolin")).topology)


@pytest.mark.parametrize("case", SAME)
def test_the_same_molecule_however_it_is_written(case: str, expected: str, tmp_path: Path) -> None:
    molecule = build(write(SAME[case], tmp_path / "a.pdb"))
    assert fingerprint(molecule.topology) == expected and not molecule.added
    assert any("of 2 taken" in note for note in molecule.notes) == case.lower().startswith("model")
    assert any("left out" in note for note in molecule.notes) == (case == "a metal ion")


def scaled(factor: float) -> str:
    return pdb([placed(line, factor * np.array(xyz(line))) for line in LINES])


REFUSED: dict[str, tuple[str | bytes, str]] = {
    "a residue left out": (
        pdb([renumbered(x, f"{number(x) - (number(x) > 5):4d}") for x in LINES if number(x) != 5]), "residues are miss"
    ),
    "halves exchanged": (
        pdb([x for x in LINES if number(x) > 6] + [x for x in LINES if number(x) <= 6]), "put them in order"
    ),
    "a second molecule through the first": (
        pdb(LINES + [moved(line[:21] + "B" + line[22:], 1.2, 0.5, 0) for line in LINES]), "atoms that overlap"
    ),
    "a ring with a gap": (pdb([line for line in CYCLO if number(line) != 3]), "residues are missing"),
    "a ring of two": ("", "do not follow each other"),
    "nm": (scaled(0.1), "another unit"),
    "pm": (pdb([f"{x[:30]}{''.join(f'{100 * v:8.1f}' for v in xyz(x))}{x[54:]}" for x in LINES]), "another unit"),
    "bohr": (scaled(1.8897), "0.25 nm apart|0.2"),
    "flat": (pdb([placed(line, [*xyz(line)[:2], 0]) for line in LINES]), "apart"),
    "not a number": (pdb([LINES[0][:30] + "     nan" + LINES[0][38:], *LINES[1:]]), "line 1.*not finite"),
    "coordinates of 9999": (
        pdb([placed(x, [9999.0] * 3) if number(x) == 5 else x for x in LINES]), "0.000 nm apart"
    ),
    "an atom twice": (pdb([*LINES[:20], LINES[19], *LINES[20:]]), "twice"),
    "an atom with and without alternate location": (
        pdb([*LINES[:20], moved(LINES[19][:16] + "A" + LINES[19][17:], 0.7, 0, 0), *LINES[20:]]), "twice"
    ),
    "wrong elements": (pdb([line[:76] + " X" + line[78:] for line in LINES]), "its element is given as X"),
    "calcium for C-alpha": (
        pdb([line[:76] + "CA" + line[78:] if name(line) == "CA" else line for line in LINES]), "its name says C"
    ),
    "another residue's name": (pdb([line.replace("THR", "VAL") for line in LINES]), "VAL has no such atom"),
    "C-alpha atoms only": (pdb([line for line in LINES if name(line) == "CA"]), "most atoms are missing"),
    "two models of one number": (models("MODEL        1\n", 0.4), "for the second time"),
    "free format": ("\n".join(" ".join(line.split()) for line in LINES), "no ATOM records"),
    "lines cut": (pdb([line[:50] for line in LINES]), "line 1: not a readable PDB record"),
    "UTF-16": (pdb(LINES).encode("utf-16"), "not a text file"),
    "half of a gzip file": (gzip.compress(pdb(LINES).encode())[:500], "damaged gzip"),
    "DNA": (
        "ATOM      1  O5'  DA A   1       0.000   0.000   0.000  1.00  0.00           O\n"
        "ATOM      2  C5'  DA A   1       1.420   0.000   0.000  1.00  0.00           C\n"
        "ATOM      3  C4'  DA A   1       1.900   1.420   0.000  1.00  0.00           C\n", "unknown residues DA"
    ),
    "SDF": ("mol\n  program\n\n  1  0  0  0  0  0  0  0  0  0999 V2000\n", "finds no molecule|need RDKit"),
    "MOL2": ("@<TRIPOS>MOLECULE\nx\n 1 0\nSMALL\n", "finds no molecule|need RDKit"),
    "GRO in angstrom": (
        "\n".join([*GRO[:2], *(
            x[:20] + "".join(f"{10 * float(x[k : k + 8]):8.3f}" for k in (20, 28, 36)) for x in GRO[2:-1]
        ), GRO[-1]]), "another unit"
    ),
    "GRO with more atoms than announced": ("\n".join([GRO[0], " 20", *GRO[2:]]), "correct the number of atoms"),
    "GRO with fewer": ("\n".join([GRO[0], " 30", *GRO[2:]]), "cut short"),
    "half of an mmCIF file": (CIF[: int(0.6 * len(CIF))], "atom 9"),
    "mmCIF of a small molecule": ("data_x\n_cell_length_a 10\nloop_\n_atom_site_label\nC1\n", "mmCIF"),
}  # fmt: skip
REFUSED["a ring of two"] = (
    pdb([
        "ATOM      1  N   GLY A   1       0.000   1.245   0.000  1.00  0.00           N",
        "ATOM      2  CA  GLY A   1       1.270   0.570   0.000  1.00  0.00           C",
        "ATOM      3  C   GLY A   1       1.216  -0.940   0.000  1.00  0.00           C",
        "ATOM      4  O   GLY A   1       2.240  -1.620   0.000  1.00  0.00           O",
        "ATOM      5  N   GLY A   2       0.000  -1.470   0.000  1.00  0.00           N",
        "ATOM      6  CA  GLY A   2      -1.270  -0.790   0.000  1.00  0.00           C",
        "ATOM      7  C   GLY A   2      -1.216   0.720   0.000  1.00  0.00           C",
        "ATOM      8  O   GLY A   2      -2.240   1.400   0.000  1.00  0.00           O",
    ]),
    "do not follow each other",
)  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_has_no_right_answer_is_refused_in_one_sentence(case: str, tmp_path: Path) -> None:
    content, reason = REFUSED[case]
    with pytest.raises(MoleculeError, match=reason) as caught:
        build(write(content, tmp_path / "a.pdb"))
    assert "\n" not in str(caught.value)


def said(content: str, path: Path) -> tuple[Molecule, str]:
    molecule = build(write(content, path))
    return molecule, "; ".join(molecule.notes)


def test_what_the_file_leaves_open_is_said(expected: str, tmp_path: Path) -> None:
    path = tmp_path / "a.pdb"
    sequence = "SEQRES   1 A   13  MET GLY GLY TYR ASP PRO GLU THR GLY THR TRP GLY LYS\n"
    molecule, notes = said(sequence + pdb(LINES), path)
    assert fingerprint(molecule.topology) == expected
    assert "MET-GLY before GLY (A:1) and LYS after GLY (A:10)" in notes
    assert "SSBOND record ignored: A:2:SG" in said("SSBOND   1 CYS A    2    CYS A   99\n" + pdb(LINES), path)[1]


def test_an_allo_side_chain_is_said(tmp_path: Path) -> None:
    atoms = {name(line): np.array(xyz(line)) for line in LINES if number(line) == 6}
    normal = np.cross(atoms["CA"] - atoms["CB"], atoms["HB"] - atoms["CB"])
    normal /= np.linalg.norm(normal)

    def mirrored(line: str) -> str:
        if number(line) != 6 or name(line)[:2] not in ("OG", "HG", "CG"):
            return line
        return placed(line, atoms[name(line)] - 2 * np.dot(atoms[name(line)] - atoms["CB"], normal) * normal)

    assert "(allo): THR (A:6)" in said(pdb([mirrored(line) for line in LINES]), tmp_path / "a.pdb")[1]


def test_segment_names_divide_chains_without_letters(tmp_path: Path) -> None:
    blank = [line[:21] + " " + line[22:66] + "      PROA" for line in LINES if name(line) != "OXT"]
    other = [renumbered(moved(line[:-1] + "B", 30, 0, 0), f"{number(line) + 10:4d}") for line in blank]
    molecule, _ = said(pdb(blank + other), tmp_path / "a.pdb")
    assert molecule.topology.getNumChains() == 2 and molecule.topology.getNumAtoms() == 276


@pytest.mark.parametrize(
    ("change", "models_found"),
    [
        (lambda lines: [*lines[:2], *(x + "  0.1234 -0.4321  0.0001" for x in lines[2:-1]), lines[-1]], 1),
        (lambda lines: lines + lines, 2),
        (lambda lines: [*lines[:-1], "   3.0 3.0 2.12132 0 0 0 0 1.5 1.5"], 1),
        (lambda lines: [*lines[:-1], "   0.0 0.0 0.0"], 1),
    ],
)
def test_gro_files_with_velocities_frames_and_boxes(
    change: Callable[[list[str]], list[str]], models_found: int, tmp_path: Path
) -> None:
    molecule, notes = said("\n".join(change(GRO)) + "\n", tmp_path / "a.gro")
    assert molecule.topology.getNumAtoms() == 22 and not molecule.added
    assert ("model 1 of 2" in notes) == (models_found == 2)


def test_quoted_atom_names_of_mmcif(tmp_path: Path) -> None:
    molecule, _ = said(CIF.replace(" CA ", ' "CA" ').replace(" CB ", " 'CB' "), tmp_path / "a.cif")
    assert molecule.topology.getNumAtoms() == 22 and not molecule.added
