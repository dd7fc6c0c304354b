"""`latentmd upsample` and `latentmd inpaint` from the command line: bad input, each in a sentence."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from latentmd.cli.main import main

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
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
def test_bad_usage_exits_with_2(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.xtc").touch()
    result = CliRunner().invoke(main, [*arguments, "--out", "run"])
    assert result.exit_code == 2, result.output
    assert reason in result.output
    assert not Path("run").exists()
