"""Settings of a training on a world."""

from __future__ import annotations

import pytest

from latentmd.systems.toy.world import WORLDS, world
from latentmd.training.config import ConfigError
from latentmd.worlds.config import RECIPES, merged, world_config


def test_changes_are_laid_over_the_recipe() -> None:
    recipe = {"horizon": 30, "jepa": {"steps": 800, "rollout": 3}}
    found = world_config("two-balls", "state", recipe, {"jepa": {"steps": 10}})
    assert (found.horizon, found.jepa.steps, found.jepa.rollout) == (30, 10, 3)
    assert merged({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}) == {"a": {"b": 3, "c": 2}}


def test_what_cannot_be_used_is_named() -> None:
    with pytest.raises(ConfigError, match="rollouts and the horizon of 50 need more than 50"):
        world_config("two-balls", "state", {}, {"data": {"frames": 20}})
    with pytest.raises(ConfigError, match="expected 1 <= shortest <= longest"):
        world_config("two-balls", "state", {}, {"jepa": {"lag": (3, 2)}})
    with pytest.raises(ConfigError, match="steps"):
        world_config("two-balls", "state", {}, {"jepa": {"stepps": 1}})


def test_predictors_are_known_by_name() -> None:
    assert world_config("two-balls", "state", {}, {"predictor": {"kind": "langevin"}}).predictor.kind == "langevin"
    with pytest.raises(ConfigError, match="did you mean 'langevin'"):
        world_config("two-balls", "state", {}, {"predictor": {"kind": "langevine"}})
    with pytest.raises(ConfigError, match=r"no encoder of worlds is called 'egnn'; There are vector, sequence"):
        world_config("two-balls", "state", {}, {"encoder": {"kind": "egnn"}})


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_a_valid_recipe(name: str) -> None:
    for observe in world(name).observations:
        found = world_config(name, observe, RECIPES[name, observe], {})
        assert found.data.frames > found.horizon


def test_no_recipe_is_left_over() -> None:
    assert {name for name, _ in RECIPES} == set(WORLDS)
