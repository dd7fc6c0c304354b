"""`latentmd scan`."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from latentmd.cli.main import main
from latentmd.systems.bundled import bundled

ALANINE = str(bundled("alanine_dipeptide"))


def command(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["scan", *arguments])


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ((), "Missing argument 'FILE', or --smiles"),
        (("none.sdf",), "none.sdf: no such file"),
        ((ALANINE, "--name", "a"), "--name is for --smiles without a FILE"),
        ((ALANINE, "--bond", "7-8"), "--bond 7-8 is no bond"),
        ((ALANINE, "--step", "50"), "expected a divisor of 60"),
        ((ALANINE, "--wall", "0s"), "not a wall time"),
        ((ALANINE, "--temperature", "-5"), "--temperature is -5 K"),
        ((ALANINE, "--resume", "--overwrite"), "exclude each other"),
        ((ALANINE, "--solvent", "explicit"), "'explicit' is not one of 'implicit', 'vacuum'"),
    ],
)
def test_bad_usage_ends_in_a_sentence(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = command(*arguments, "--out", "run")
    assert result.exit_code == 2 and reason in result.output, result.output
    assert not Path("run").exists()


def test_a_scan_says_what_it_found(tmp_path: Path) -> None:
    given = (ALANINE, "--bond", "psi ALA2", "--step", "60", "--relaxed-only", "--solvent", "vacuum", "--processes", "1")
    result = command(*given, "--out", str(tmp_path / "run"))
    assert result.exit_code == 0, result.output
    assert "(psi ALA2): highest relaxed" in result.output and "free energy" not in result.output
    names = {path.name for path in (tmp_path / "run").iterdir()}
    assert names >= {"scan.csv", "scan.xtc", "topology.pdb", "scan.png", "summary.json"}
