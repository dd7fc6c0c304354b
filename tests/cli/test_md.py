"""`latentmd md`: a run, its folder, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from latentmd.cli.main import main

ALANINE = str(Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb")


def latentmd(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_md_then_a_second_run_into_the_same_folder(tmp_path: Path) -> None:
    out = str(tmp_path / "run")
    arguments = ("md", ALANINE, *"--time 1ps --save-every 0.5ps --walkers 1 --out".split(), out)
    first = latentmd(*arguments)
    assert first.exit_code == 0, first.output
    assert "wrote " in first.output and "latentmd train " in first.output

    second = latentmd(*arguments)
    assert second.exit_code == 2
    assert "pass --resume to go on with its run, --overwrite" in second.output

    third = latentmd(*arguments, "--overwrite", "--seed", "5")
    assert third.exit_code == 0, third.output
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["seed"] == 5


def test_several_files_become_a_data_set(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.pdb"
    nothing.write_text("END\n")
    options = "--time 1ps --save-every 1ps --walkers 1 --processes 1 --out".split()
    result = latentmd("md", ALANINE, str(nothing), *options, str(tmp_path / "set"))
    assert result.exit_code == 0, result.output
    assert "1 molecule, 1 ps in all" in result.output and "failed: nothing" in result.output
    rows = json.loads((tmp_path / "set" / "manifest.json").read_text())
    assert [row["name"] for row in rows["molecules"]] == ["alanine_dipeptide"]
    assert "nothing.pdb" in rows["failed"][0]["error"]


def test_an_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    result = latentmd("md", ALANINE, *("--time", "1ps"), *("--out", str(tmp_path / "file" / "run")))
    assert result.exit_code == 2
    assert "cannot write there" in result.output


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ("--time 1ps --save-every 3fs", "expected a multiple of the time step"),
        ("--time 1ps --timestep 20fs", "--timestep is 20 fs; expected more than 0"),
        ("--time 1ps --temperature -5", "--temperature is -5 K"),
        ("--time 1ps --friction -1", "--friction"),
        ("--time 1ps --resume --overwrite", "resume and overwrite exclude each other"),
    ],
)
def test_bad_settings_say_what_is_expected(options: str, reason: str, tmp_path: Path) -> None:
    result = latentmd("md", ALANINE, "--out", str(tmp_path / "run"), *options.split())
    assert result.exit_code == 2, result.output
    assert reason.lower() in " ".join(result.output.split()).lower()
    assert not (tmp_path / "run").exists()
