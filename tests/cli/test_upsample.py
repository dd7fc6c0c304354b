"""`latentmd upsample` from the command line: what it writes, and bad input, each in a sentence."""

from __future__ import annotations

from pathlib import Path

import mdtraj
import numpy as np
import pytest
from click.testing import CliRunner, Result

from latentmd.cli.main import main

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
ALANINE = str(MOLECULES / "alanine_dipeptide.pdb")


def latentmd(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


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
def test_bad_usage_exits_with_2(tmp_path: Path, arguments: tuple[str, ...], reason: str) -> None:
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
    assert result.exit_code == 2 and "frame 2" in result.output and "periodic box" in result.output
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
