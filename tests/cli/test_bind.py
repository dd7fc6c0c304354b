"""`latentmd bind`: what it writes and says, and what it refuses."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from latentmd.cli.main import main
from latentmd.systems.bundled import bundled


def _bind(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["bind", *map(str, arguments)])


def test_a_model_of_the_peptide_is_written_once(tmp_path: Path) -> None:
    out = tmp_path / "a.pt"
    found = _bind(bundled("trialanine"), "--out", out)
    assert found.exit_code == 0, found.output
    assert "zero-shot" in found.output and f"wrote {out}" in found.output
    again = _bind(bundled("trialanine"), "--out", out)
    assert again.exit_code == 2 and "--overwrite" in again.output


def test_an_uncovered_molecule_and_a_missing_file_are_told(tmp_path: Path) -> None:
    found = _bind(bundled("chignolin"), "--out", tmp_path / "a.pt")
    assert found.exit_code == 2 and "it has 10 residues" in found.output
    found = _bind(tmp_path / "missing.pdb", "--out", tmp_path / "a.pt")
    assert found.exit_code != 0 and "missing.pdb" in found.output and "Traceback" not in found.output
    assert not (tmp_path / "a.pt").exists()
