"""`latentmd systems`."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner, Result

from latentmd.cli.main import main
from latentmd.systems.bundled import bundled


def test_systems_lists_molecules() -> None:
    result = CliRunner().invoke(main, ["systems"])
    assert result.exit_code == 0
    for name in ("alanine_dipeptide", "chignolin", "met_enkephalin"):
        assert name in result.output


def test_systems_lists_the_models_that_cover_each_molecule() -> None:
    result = CliRunner().invoke(main, ["systems"], env={"COLUMNS": "200"})
    rows = {line.split("│")[1].strip(): line for line in result.output.splitlines() if line.startswith("│")}
    assert "alanine-dipeptide, peptides" in rows["alanine_dipeptide"]
    assert "peptides" in rows["trialanine"]
    assert "peptides" not in rows["chignolin"], "it has ten residues, and the model covers eight"
    assert "10 ps to 500 ps" in rows["peptides"]


def test_systems_prints_a_path() -> None:
    result = CliRunner().invoke(main, ["systems", "--path", "chignolin"])
    assert Path(result.output.strip()).is_file()
    assert CliRunner().invoke(main, ["systems", "--path", "unobtainium"]).exit_code == 2


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
