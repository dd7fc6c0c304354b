"""Configuration: defaults, and one clear message for each kind of mistake."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from latentmd.training.config import ConfigError, TrainingConfig, load_config, parse_config

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"


def test_no_file_gives_the_defaults() -> None:
    assert load_config(None) == TrainingConfig() == parse_config({})


def test_values_are_read_from_toml(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text("seed = 7\nstride = 2.0\n[jepa]\nlag = [2.0, 8.0]\nema = 0.5\n[predictor]\nkind = 'mixture'\n")
    config = load_config(path)
    assert (config.seed, config.stride, config.jepa.lag, config.jepa.ema) == (7, 2.0, (2.0, 8.0), 0.5)
    assert config.predictor.kind == "mixture"
    assert config.decoder == TrainingConfig().decoder


@pytest.mark.parametrize("recipe", sorted(MOLECULES.glob("*.toml")), ids=lambda path: path.stem)
def test_recipes_in_the_tree_are_valid(recipe: Path) -> None:
    """Everything a recipe sets arrives in the configuration."""
    loaded = load_config(recipe).model_dump(mode="json")
    for key, value in tomllib.loads(recipe.read_text(encoding="utf-8")).items():
        assert value.items() <= loaded[key].items() if isinstance(value, dict) else loaded[key] == value, key


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"sede": 1}, r"unknown key 'sede'; did you mean 'seed'\?"),
        ({"jepa": {"learning_rat": 1}}, r"unknown key 'jepa.learning_rat'; did you mean 'jepa.learning_rate'\?"),
        ({"predictor": {"cell": 1}}, r"did you mean 'predictor.cells'\?"),
        ({"latent": {"qqq": 1}}, r"unknown key 'latent.qqq'; known keys: lag, threshold, slow_axes"),
        ({"jepa": {"lag": [5.0, 2.0]}}, r"jepa.lag is 5.0 to 2.0 ps; expected stride \(1.0\) <= shortest <= longest"),
        ({"predictor": {"lag": [0.5, 2.0]}}, r"predictor.lag is 0.5 to 2.0 ps"),
        ({"decoder": {"steps": 0}}, r"decoder.steps: .*greater than or equal to 1 \(found 0\)"),
        ({"jepa": {"objective": "none"}}, r"jepa.objective: .*'variance-covariance' or 'sigreg' \(found 'none'\)"),
        ({"temperature": "hot"}, r"temperature: .*valid number.*\(found 'hot'\)"),
        ({"jepa": {"lag": [1.0]}}, r"jepa.lag"),
    ],
)
def test_mistakes_are_named(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_config(settings)


def test_every_mistake_is_listed() -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config({"sede": 1, "jepa": {"batch": 1}}, "my.toml")
    assert str(caught.value).startswith("my.toml: ")
    assert "sede" in str(caught.value) and "jepa.batch" in str(caught.value)


def test_missing_and_broken_files(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere.toml: no such configuration file"):
        load_config(tmp_path / "nowhere.toml")
    broken = tmp_path / "broken.toml"
    for content in (b"seed = ", b"\xff\xfe\x00seed"):
        broken.write_bytes(content)
        with pytest.raises(ConfigError, match=r"broken.toml: not a readable TOML file"):
            load_config(broken)
    with pytest.raises(ConfigError, match="not a readable TOML file"):
        load_config(tmp_path)
