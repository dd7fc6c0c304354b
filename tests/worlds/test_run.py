"""`latentmd train world` from end to end, and what it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner, Result

from latentmd.cli.main import main
from latentmd.systems.toy.double_pendulum import DoublePendulum
from latentmd.systems.toy.world import WORLDS, world
from latentmd.worlds.config import RECIPES
from latentmd.worlds.model import load_world
from latentmd.worlds.run import plan_world

TINY = """
horizon = 5
maps = ["PCA"]
[data]
train = 6
test = 2
frames = 14
[encoder]
dim = 6
width = 12
[jepa]
steps = 12
batch = 16
rollout = 2
minimum_rank = 1.0
[predictor]
steps = 4
batch = 16
width = 8
rollout = 2
rivals = ["mlp"]
[decoder]
steps = 5
width = 8
"""


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["train", "world", *arguments])


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("world")
    (folder / "tiny.toml").write_text(TINY)
    paths = ["--config", str(folder / "tiny.toml"), "--out", str(folder / "out")]
    result = run("double-pendulum", "--seed", "3", *paths)
    assert result.exit_code == 0, result.output
    assert "persistence" in result.output and "linear probes" in result.output
    return folder / "out"


def test_writes_model_table_and_pictures(trained: Path) -> None:
    figures = json.loads((trained / "table.json").read_text())
    assert figures["world"] == "double-pendulum" and figures["seed"] == 3
    assert set(figures["predictors"]) == {"residual", "mlp", "persistence"}
    assert all(np.isfinite(list(row["forecast"].values())).all() for row in figures["predictors"].values())
    for name in ("loss.png", "latent-pca.png", "forecast.png", "reconstruction.png", "forecast.gif", "training.csv"):
        assert (trained / name).stat().st_size > 500, name
    assert not (trained / "latent-umap.png").exists(), "of the maps only PCA was asked for"


def test_the_model_does_what_its_manifest_says(trained: Path) -> None:
    module, manifest = load_world(trained / "model.pt")
    assert (manifest.world, manifest.observe, manifest.latent) == ("double-pendulum", "coordinates", (1, 6))
    states = DoublePendulum().simulate(1, 4, 0)
    seen = DoublePendulum().observe(states, "coordinates")[0]
    pairs = torch.from_numpy(np.stack([seen[:-1], seen[1:]], axis=1))
    z = module.encode(pairs)
    assert z.shape == (3, 1, 6)
    later = module.step(z, torch.ones(3), torch.zeros(3, module.noise_size))
    assert later.shape == z.shape and not torch.equal(later, z)
    assert module.read(z).shape == (3, len(manifest.read_out))
    assert module.decode(z).shape == (3, 4)


def test_a_filled_folder_is_kept_without_overwrite(trained: Path) -> None:
    result = run("double-pendulum", "--out", str(trained))
    assert result.exit_code == 2 and "--overwrite" in result.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["double-pendulm"], "did you mean 'double-pendulum'?"),
        (["double-pendulum", "--observe", "pixel"], "did you mean 'pixels'?"),
        (["double-pendulum", "--predictor", "hamiltonan"], "did you mean 'hamiltonian'?"),
        (["circles", "--top", "x.pdb"], "--top"),
        (["circles", "run.xtc"], "unexpected extra argument (run.xtc)"),
        (["circles", "--config", "no.toml"], "no such configuration file"),
        ([], "Missing argument 'WORLD'"),
    ],
)
def test_wrong_input_is_one_sentence(tmp_path: Path, arguments: list[str], message: str) -> None:
    result = run(*arguments, "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
    assert "Traceback" not in result.output
    assert not (tmp_path / "out").exists()


def test_an_unknown_setting_names_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "wrong.toml").write_text("[jepa]\nstepps = 3\n")
    paths = ["--config", str(tmp_path / "wrong.toml"), "--out", str(tmp_path / "out")]
    result = run("circles", *paths)
    assert result.exit_code == 2 and "did you mean 'jepa.steps'?" in " ".join(result.output.split())


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_recipes_that_hold(name: str) -> None:
    for how in world(name).observations:
        assert RECIPES[name, how]
        config = plan_world(name, how)[1]
        assert config.observe == how
