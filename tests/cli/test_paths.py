"""`latentmd paths` from the command line: bad input, each in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from latentmd.cli.main import main

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
