"""Scores of data sets: each molecule as by itself, here and on a cluster; what is missing and wrong is named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import latentmd
from latentmd.cli.main import main
from latentmd.evaluation.inputs import EvaluationSettings
from latentmd.sampling.scores import Scores
from latentmd.systems.peptide import backbone, pdb_block

SETTINGS = EvaluationSettings(lag=1.0)


@pytest.fixture(scope="module")
def sets(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two data sets of plain MD: two peptides in both, one more in the second, whose first is another molecule."""
    folder = tmp_path_factory.mktemp("sets")
    for name, residue in (("gly", "GLY"), ("ala", "ALA"), ("odd", "SER"), ("more", "GLY")):
        (folder / f"{name}.pdb").write_text(pdb_block(backbone(["ACE", residue, "NME"])))
    run: dict[str, Any] = {"time": "40ps", "save_every": "0.2ps", "walkers": 2, "processes": 2}
    three = [folder / f"{name}.pdb" for name in ("gly", "ala", "odd")]
    made = [latentmd.md_data_set(three, out=folder / "own", seed=1, **run)]
    three[2].write_text(pdb_block(backbone(["ACE", "VAL", "NME"])))
    made.append(latentmd.md_data_set([*three, folder / "more.pdb"], out=folder / "reference", seed=2, **run))
    return made[0].folder, made[1].folder


@pytest.fixture(scope="module")
def here(sets: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Scores:
    return latentmd.evaluate_data_set(*sets, out=tmp_path_factory.mktemp("scores") / "here", settings=SETTINGS)


@pytest.mark.slow
def test_a_molecule_is_scored_as_by_itself_and_what_cannot_be_is_named(sets: tuple[Path, Path], here: Scores) -> None:
    top = sets[1] / "gly" / "topology.pdb"
    alone = latentmd.evaluate([sets[0] / "gly"], [sets[1] / "gly"], top, settings=SETTINGS)
    name = "JS distance, torsions (all)"
    value = next(metric.value for metric in alone.metrics if metric.name == name)
    assert value == pytest.approx(here.value("gly", name), rel=1e-6)
    assert here.median(name) == pytest.approx((value + here.value("ala", name)) / 2)
    assert list(here.metrics) == ["ala", "gly"] and list(here.failed) == ["odd"]
    assert (here.folder / "ala" / "evaluation.html").stat().st_size > 10_000
    assert json.loads((here.folder / "scores.json").read_text())["only"] == {"generated": [], "reference": ["more"]}


@pytest.mark.slow
def test_a_cluster_one_of_whose_workers_is_killed_finds_the_same(
    sets: tuple[Path, Path], here: Scores, tmp_path: Path, two_workers: Any
) -> None:
    out = tmp_path / "there"
    with two_workers(lambda: any(out.glob("*/"))) as address:
        latentmd.evaluate_data_set(*sets, out=out, settings=SETTINGS, scheduler=address)
    assert (out / "scores.json").read_bytes() == (here.folder / "scores.json").read_bytes()


@pytest.mark.slow
def test_the_command_prints_a_row_of_each(sets: tuple[Path, Path], tmp_path: Path) -> None:
    line = ["evaluate", str(sets[0]), "--reference", str(sets[1]), "--lag", "1ps", "--out", str(tmp_path / "scores")]
    result = CliRunner().invoke(main, line)
    assert result.exit_code == 0 and "median" in result.output and "not evaluated: odd: " in result.output
    assert "holds scores.json already" in CliRunner().invoke(main, line).output
    alone = CliRunner().invoke(main, [*line, "--overwrite", "--top", "a.pdb"])
    assert "--top belongs to one molecule" in alone.output
    other = CliRunner().invoke(main, [*line[:3], str(sets[1] / "gly")])
    assert "--reference must be the folder of one too" in " ".join(other.output.split())


def test_sets_without_a_molecule_of_one_name_are_refused(tmp_path: Path) -> None:
    for one, name in (("a", "gly"), ("b", "ala")):
        (tmp_path / one / name).mkdir(parents=True)
        for file in ("topology.pdb", "walker-0000.xtc"):
            (tmp_path / one / name / file).touch()
    with pytest.raises(ValueError, match="share no molecule by name"):
        latentmd.evaluate_data_set(tmp_path / "a", tmp_path / "b", out=tmp_path / "out")
