"""`latentmd inpaint` from the command line: how residues are named, and bad input, each in a sentence."""

from __future__ import annotations

from pathlib import Path

import click
import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner, Result

from latentmd.cli.inpaint import Residues
from latentmd.cli.main import main

ALANINE = str(Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb")


def latentmd(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


@pytest.fixture
def trajectory(tmp_path: Path) -> Path:
    """Three frames 10 ps apart of one structure."""
    frame = mdtraj.load(ALANINE)
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
def test_bad_usage_exits_with_2(trajectory: Path, arguments: tuple[str, ...], reason: str) -> None:
    out = trajectory.parent / "run"
    given = (str(trajectory), "--top", ALANINE, "--out", str(out))
    result = latentmd("inpaint", *given, *arguments)
    assert result.exit_code == 2, result.output
    assert reason in " ".join(result.output.split())
    assert not out.exists()


def test_the_command_draws_and_says_what_it_wrote(trajectory: Path) -> None:
    out = trajectory.parent / "run"
    arguments = ("--top", ALANINE, "--residues", "2", "--out", str(out), "--processes", "1")
    result = latentmd("inpaint", str(trajectory), *arguments)
    assert result.exit_code == 0, result.output
    assert "3 of 3 frames made" in result.output
    for name in ("inpaint.xtc", "inpaint.png", "inpaint.html", "provenance.csv", "summary.json", "topology.pdb"):
        assert (out / name).stat().st_size > 100 and name in result.output
