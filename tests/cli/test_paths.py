"""`latentmd paths` from the command line: bad input, each in a sentence."""

from __future__ import annotations

from pathlib import Path

import click
import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner, Result

from latentmd.cli.main import main
from latentmd.cli.paths import Residues

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
ALANINE = str(MOLECULES / "alanine_dipeptide.pdb")
MODEL = ("--model", "alanine-dipeptide")


def latentmd(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((ALANINE, str(MOLECULES / "trialanine.pdb")), "a path joins two structures of one molecule"),
        ((ALANINE, "none.pdb"), "none.pdb: no such file"),
        ((ALANINE, ALANINE, "--time", "105ps"), "expected a multiple of --every, 10 ps: try 100 ps"),
        ((ALANINE, ALANINE, "--every", "5ps"), "the model's steps are 10 ps to 200 ps"),
        ((ALANINE, ALANINE, "--to", "2"), "two PDB files are both ends already"),
        ((ALANINE, "--to", "9"), "--to is 9; expected a PDB file, or a state of the model from 1 to 3"),
        (MODEL, "state 1: "),
        ((*MODEL, "--from", "2", "--to", "2"), "--from and --to are both state 2"),
        (("--from", "1", "--to", "2"), "nothing says which molecule"),
        ((ALANINE, ALANINE, ALANINE), "3 PDB files; expected two"),
        ((ALANINE, ALANINE, "--time", "10"), "has no unit"),
        ((str(MOLECULES / "chignolin.pdb"), "--to", "1"), "no bundled model covers"),
    ],
)
def test_bad_usage_exits_with_2(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = latentmd("paths", *arguments, "--out", "run")
    assert result.exit_code == 2, result.output
    assert reason in result.output
    assert not Path("run").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("mine")
    arguments = (ALANINE, ALANINE, "--out", str(tmp_path), "--overwrite")
    result = latentmd("paths", *arguments)
    assert result.exit_code == 2 and "is not empty" in result.output
    assert (tmp_path / "mine.txt").read_text() == "mine"


def _trajectory(path: Path, torn: bool = False) -> Path:
    """Three frames 4 ps apart of one structure; torn, the last has half of it on the other side of a box."""
    frame = mdtraj.load(ALANINE)
    x = np.repeat(frame.xyz, 3, 0)
    if torn:
        x[2, 10:] += 3.0
    mdtraj.Trajectory(x, frame.topology, time=4.0 * np.arange(3)).save_xtc(str(path))
    return path


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--every", "3ps"), "no multiple of --every, 3 ps: try 2 ps"),
        (("--every", "1"), "has no unit"),
        (("--every", "0.1ps"), "the path model knows frames 1 ps to 20 ps apart"),
        (("--resume", "--overwrite"), "exclude each other"),
        (("--interval", "3ps"), "--interval is 3 ps, but"),
        (("--model", "trialanine"), "trialanine"),
    ],
)
def test_bad_usage_exits_with_2_of_upsample(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
    path, out = _trajectory(tmp_path / "three.xtc"), tmp_path / "run"
    given = (str(path), "--top", ALANINE, "--out", str(out))
    result = latentmd("upsample", *given, *arguments)
    assert result.exit_code == 2, result.output
    assert reason in " ".join(result.output.split())
    assert not out.exists()


def test_jumps_across_a_box_and_other_molecules_are_refused(tmp_path: Path) -> None:
    path = _trajectory(tmp_path / "torn.xtc", torn=True)
    given = ("--top", ALANINE, "--out", str(tmp_path / "run"))
    result = latentmd("upsample", str(path), *given)
    assert result.exit_code == 2 and "Frame 2" in result.output and "periodic box" in result.output
    other = latentmd("upsample", str(path), "--top", str(MOLECULES / "glycine_dipeptide.pdb"))
    assert other.exit_code == 2 and "latentmd bind" in other.output


def test_the_command_fills_in_and_says_what_it_wrote(tmp_path: Path) -> None:
    out = tmp_path / "run"
    path = _trajectory(tmp_path / "three.xtc")
    arguments = ("--top", ALANINE, "--every", "2ps", "--out", str(out), "--processes", "1")
    result = latentmd("upsample", str(path), *arguments)
    assert result.exit_code == 0, result.output
    assert "2 of 5 frames made" in result.output
    made = mdtraj.load(str(out / "upsample.xtc"), top=str(out / "topology.pdb"))
    assert made.time.tolist() == [0.0, 2.0, 4.0, 6.0, 8.0]


ALANINE_inpaint = str(Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb")


@pytest.fixture
def trajectory(tmp_path: Path) -> Path:
    """Three frames 10 ps apart of one structure."""
    frame = mdtraj.load(ALANINE_inpaint)
    path = tmp_path / "three.xtc"
    mdtraj.Trajectory(np.repeat(frame.xyz, 3, 0), frame.topology, time=10.0 * np.arange(3)).save_xtc(str(path))
    return path


@pytest.mark.parametrize(
    ("text", "numbers"), [("2", (2,)), ("3,2", (2, 3)), ("2-5", (2, 3, 4, 5)), ("1, 3-4", (1, 3, 4))]
)
def test_residues_are_numbers_and_ranges(text: str, numbers: tuple[int, ...]) -> None:
    assert Residues().convert(text, None, None) == numbers


@pytest.mark.parametrize("text", ["", "two", "2-", "-2", "2;3", "5-2"])
def test_other_text_names_no_residues(text: str) -> None:
    with pytest.raises(click.BadParameter, match="names no residues; expected numbers such as 2,3 or 2-5"):
        Residues().convert(text, None, None)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--residues", "7"), "no such residue; the molecule has 1 ACE, 2 ALA, 3 NME"),
        (("--residues", "1-3"), "names every residue"),
        (("--residues", "two"), "names no residues"),
        (("--residues", "2", "--interval", "3ps"), "--interval is 3 ps, but"),
        (("--residues", "2", "--model", "none.pt"), "none.pt"),
        ((), "Missing option '--residues'"),
    ],
)
def test_bad_usage_exits_with_2_of_inpaint(trajectory: Path, arguments: tuple[str, ...], reason: str) -> None:
    out = trajectory.parent / "run"
    given = (str(trajectory), "--top", ALANINE_inpaint, "--out", str(out))
    result = latentmd("inpaint", *given, *arguments)
    assert result.exit_code == 2, result.output
    assert reason in " ".join(result.output.split())
    assert not out.exists()


def test_the_command_draws_and_says_what_it_wrote(trajectory: Path) -> None:
    out = trajectory.parent / "run"
    arguments = ("--top", ALANINE_inpaint, "--residues", "2", "--out", str(out), "--processes", "1")
    result = latentmd("inpaint", str(trajectory), *arguments)
    assert result.exit_code == 0, result.output
    assert "3 of 3 frames made" in result.output
    for name in ("inpaint.xtc", "inpaint.png", "inpaint.html", "provenance.csv", "summary.json", "topology.pdb"):
        assert (out / name).stat().st_size > 100 and name in result.output


TOP = ("--top", str(MOLECULES / "alanine_dipeptide.pdb"))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("upsample", "none.xtc", *TOP), "none.xtc not found"),
        (("upsample", "none.xtc"), "Missing option '--top'"),
        (("upsample", "none.xtc", "--top", str(MOLECULES / "trialanine.pdb")), "has no states until it is bound"),
        (("upsample", "none.xtc", "--top", str(MOLECULES / "chignolin.pdb")), "no bundled model covers"),
        (("upsample", "empty.xtc", *TOP), "empty.xtc is empty"),
        (("upsample", "none.xtc", *TOP, "--every", "1"), "has no unit"),
        (("inpaint", "none.xtc", *TOP), "Missing option '--residues'"),
        (("inpaint", "none.xtc", *TOP, "--residues", "2,x"), "names no residues; expected numbers such as 2,3"),
        (("inpaint", "none.xtc", *TOP, "--residues", "1-3"), "nothing is given"),
        (("inpaint", "none.xtc", *TOP, "--residues", "8"), "no such residue"),
        (("inpaint", "none.xtc", *TOP, "--residues", "2", "--design"), "knows one molecule. Bind the model"),
    ],
)
def test_bad_usage_exits_with_2_of_fill(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.xtc").touch()
    result = CliRunner().invoke(main, [*arguments, "--out", "run"])
    assert result.exit_code == 2, result.output
    assert reason in result.output
    assert not Path("run").exists()
