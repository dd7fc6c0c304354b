"""`latentmd simulate` from the command line: exit codes and messages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from latentmd.cli.main import main
from latentmd.sampling.metropolis.page import told
from latentmd.sampling.metropolis.settings import ChainsRequest
from latentmd.sampling.run.stopping import RunResult

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"
ALANINE = str(MOLECULES / "alanine_dipeptide.pdb")


def latentmd(*arguments: str) -> Result:
    return CliRunner().invoke(main, list(arguments))


def test_simulate_reports_what_was_added(ou_bundle: Path, tmp_path: Path) -> None:
    lines = Path(ALANINE).read_text().splitlines()
    pdb = tmp_path / "bare.pdb"
    pdb.write_text("\n".join(line for line in lines if line[76:78].strip() != "H") + "\n")
    options = "--time 100ps --walkers 1 --burst 0.4ps --device cpu".split()
    paths = ["--model", str(ou_bundle), "--out", str(tmp_path / "run")]
    result = latentmd("simulate", str(pdb), *paths, *options)
    assert result.exit_code == 0, result.output
    assert "the PDB file lacked, and got: A:ACE1:H1" in result.output
    assert "times the speed of plain MD" in result.output


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("none.pdb",), "none.pdb: no such file"),
        (("empty.pdb",), "the file is empty"),
        ((ALANINE, "--time", "10"), "has no unit"),
        ((ALANINE, "--time", "0ns"), "is not positive"),
        ((ALANINE, "--mode", "warp"), "--mode is 'warp'; expected one of model, latent, chains, bias, jumps, md"),
        ((ALANINE, "--walkers", "0"), "0 is not in the range"),
        ((ALANINE, "--model", "nothing"), "nothing: no such model file or bundled model"),
        ((str(MOLECULES / "chignolin.pdb"), "--mode", "model"), "no bundled model covers"),
        ((ALANINE, "--mode", "chains", "--wall", "10"), "'10' is not a wall time"),
        ((ALANINE, "--mode", "chains", "--walkers", "3"), "--walkers has no meaning with --mode chains"),
        ((ALANINE, "--mode", "chains", "--time", "1ns"), "--time has no meaning with --mode chains"),
        ((ALANINE, "--mode", "md", "--temperature", "-1"), "--temperature is -1 K"),
        ((ALANINE, "--solvent", "explicit", "--mode", "model"), "--mode md"),
        ((ALANINE, "--solvent", "explicit", "--water", "tip9p"), "'tip9p' is not one of 'tip3p', 'opc'"),
        ((ALANINE, "--solvent", "explicit", "--padding", "0.2"), "too small for the cutoff of 1 nm"),
        ((ALANINE, "--solvent", "explicit", "--wall", "2s"), "ps a second here"),
        ((ALANINE, "--salt", "0.15", "--mode", "md"), "are for --solvent explicit; add it"),
    ],
)
def test_bad_usage_exits_with_2(
    arguments: tuple[str, ...], reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.pdb").touch()
    result = latentmd("simulate", *arguments, "--out", "run")
    assert result.exit_code == 2, result.output
    assert reason in " ".join(result.output.split())
    assert result.output.count("Error:") == 1 and "Traceback" not in result.output
    assert [p.name for p in Path().iterdir()] == ["empty.pdb"]


def test_a_molecule_without_a_model_says_so_and_gets_exact_chains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ChainsRequest] = []

    def chains(pdb: Path, request: ChainsRequest, *others: object) -> RunResult:
        asked.append(request)
        summary = {
            "mode": "chains",
            "accepted": {"draw": 0.25}, "effective_samples": 7.0, "missing": ["more"], "frames": 10, "file": "x.xtc",
            "remarks": [], "notes": [],
            "plain_md": {"least_of_chains": {}, "least_at_equal_wall_time": {}}, "populations": {},
        }  # fmt: skip
        return RunResult(tmp_path, summary)

    monkeypatch.setattr("latentmd.sampling.metropolis.run.chains", chains)
    pdb = str(MOLECULES / "chignolin.pdb")
    result = latentmd("simulate", pdb, *("--wall", "2min"), *("--out", str(tmp_path / "run")))
    assert result.exit_code == 0, result.output
    assert "no bundled model covers GLY-TYR-ASP-PRO" in result.output
    assert "; exact chains, beside plain MD" in result.output
    assert "10 frames of equal weight, at least 7 effective samples" in result.output
    assert asked[0].wall == 120.0


def test_the_rule_sees_what_was_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def execute(plan: Any, report: object) -> None:
        asked.append(plan)
        raise ValueError("enough")

    monkeypatch.setattr("latentmd.sampling.walkers.simulate.execute", execute)
    out = str(tmp_path / "run")
    options = ("--time", "1ns", "--out", out)
    result = latentmd("simulate", str(MOLECULES / "chignolin.pdb"), *options)
    assert "plain MD, since trajectories were asked for" in result.output
    assert len(asked) == 1 and asked[0].settings.mode == "md"


def test_populations_and_what_is_missing_are_told() -> None:
    summary = {
        "frames": 10, "file": "x.xtc",
        "accepted": {"draw": 0.25}, "effective_samples": 7.0, "missing": ["more"],
        "notes": ["there was no time for pictures"],
        "plain_md": {"least_of_chains": {}, "least_at_equal_wall_time": {}},
        "populations": {
            "set 1": {"in_words": "0.5 ± 0.1", "degrees": [0.0, 180.0], "period": 360.0},
            "set 2": {"in_words": "> 0.99 (95 %)", "degrees": [0.0, 180.0], "period": 180.0},
        },
        "rings_in_one_shape": [],
        "remarks": ["Torsions with one well: set 2"],
    }  # fmt: skip
    text = "\n".join(told(RunResult(Path("run"), summary)))
    assert (
        "25.0 % of the drawn torsions" in text
        and "No state to compare" in text
        and "set 1: population 0.5 ± 0.1" in text
        and "set 2: population" not in text
        and "  Torsions with one well: set 2" in text
        and "  - more\nthere was no time for pictures\n" in text
    )
