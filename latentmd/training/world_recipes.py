"""The recipe of each world and way of observing it: what differs from the defaults of the configuration."""

from __future__ import annotations

from typing import Any

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("double-pendulum", "coordinates"): {
        "data": {"train": 150, "test": 30},
        "encoder": {"kind": "vector", "dim": 32, "width": 64},
        "jepa": {"steps": 1500, "batch": 128},
        "predictor": {"steps": 1500, "batch": 128, "width": 64},
    },
}


def recipe(world: str, observe: str) -> dict[str, Any]:
    """Settings of a world seen in one way, over the defaults."""
    return RECIPES[world, observe]
