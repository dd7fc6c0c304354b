"""`latentmd systems`."""

from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from latentmd.cli.main import main


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
