"""A recipe for every world and every way of observing it."""

from __future__ import annotations

import pytest

from latentmd.systems.toy.world import WORLDS, world
from latentmd.worlds.config import world_config
from latentmd.worlds.recipes import RECIPES, recipe


@pytest.mark.parametrize("name", WORLDS)
def test_every_world_has_a_valid_recipe(name: str) -> None:
    for observe in world(name).observations:
        found = world_config(name, observe, recipe(name, observe), {})
        assert found.data.frames > found.horizon


def test_no_recipe_is_left_over() -> None:
    assert {name for name, _ in RECIPES} == set(WORLDS)
