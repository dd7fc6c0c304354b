"""docs/howto/extend.md as it stands: its parts keep the contract, train from the command line, and its sampler runs."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

import mdtraj
import pytest
from click.testing import CliRunner

from latentmd.cli.main import main
from latentmd.model.file import load

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "extend.md"
TINY = """seed = 1
stride = 0.2
solvent = "vacuum"
holdout = 1
[jepa]
steps = 8
batch = 16
lag = [0.2, 2.0]
minimum_rank = 1.0
[latent]
lag = 0.4
[decoder]
steps = 4
batch = 32
[fast]
steps = 4
batch = 32
[energy]
frames = 100
tolerance = 0.0
steps = 2
latent_steps = 4
"""


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE.read_text(), re.M | re.S)


PDB = PAGE.parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_its_parts_train(
    alanine_runs: list[Any], alanine_topology: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, check, encoder, *_ = blocks("python")
    (tmp_path / "mine.py").write_text(predictor + encoder)
    monkeypatch.syspath_prepend(tmp_path)
    exec("from mine import *\n" + check, {})
    (toml,) = blocks("toml")
    changed = toml.replace('"mine:RELAXATION"', '"mine:RELAXATION"\nsteps = 4\nbatch = 32\nlag = [1.0, 10.0]')
    (tmp_path / "own.toml").write_text(TINY + changed)
    files = [tmp_path / f"run-{i}.xtc" for i in range(2)]
    for file, positions in zip(files, alanine_runs, strict=False):
        save(file, positions, alanine_topology)
    out = tmp_path / "own.pt"
    arguments = ["train", "molecule", *map(str, files), "--top", str(PDB), "--config", str(tmp_path / "own.toml")]
    result = CliRunner().invoke(main, [*arguments, "--device", "cpu", "--out", str(out)])
    assert result.exit_code == 0, result.output
    sys.modules.pop("mine")
    assert load(out).manifest.training["config"]["encoder"]["kind"] == "mine:DISTANCES"


def test_its_sampler_runs_and_is_a_mode(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    *_, sampler, use, way = blocks("python")
    (tmp_path / "sampler.py").write_text(sampler + way)
    monkeypatch.syspath_prepend(tmp_path)
    exec(sampler + use, {})
    (line,) = (line for block in blocks("bash") for line in block.splitlines() if "--mode" in line)
    spread = [*line.split(" latentmd ")[1].replace("my.pdb", str(PDB)).split()[:-1], str(tmp_path / "spread")]
    result = CliRunner().invoke(main, spread)
    sys.modules.pop("sampler")
    assert result.exit_code == 0, result.output
    assert f"wrote {tmp_path / 'spread'}/" in result.output
    assert len(mdtraj.load(tmp_path / "spread" / "spread.xtc", top=tmp_path / "spread" / "topology.pdb")) == 21


def save(file: Path, positions: Any, topology: Any) -> None:
    import numpy as np

    mdtraj.Trajectory(positions, topology, time=0.2 * np.arange(1, len(positions) + 1)).save_xtc(str(file))


@pytest.mark.parametrize(
    ("kind", "found"),
    [
        ("flo", "no predictor of molecules is called 'flo'; did you mean 'flow'"),
        ("nowhere:X", "cannot load the predictor of molecules 'nowhere:X'"),
        ("math:pi", "'math:pi' is no predictor of molecules; expected a latentmd.training.parts.Predictor"),
    ],
)
def test_a_wrong_kind_is_named(kind: str, found: str, tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text(f'[predictor]\nkind = "{kind}"\n')
    arguments = ["train", "molecule", "x.xtc", "--top", "x.pdb", "--out", str(tmp_path / "x.pt")]
    result = CliRunner().invoke(main, [*arguments, "--config", str(tmp_path / "own.toml")])
    assert result.exit_code != 0 and found in result.output.replace("\n", " ")
