"""The recipe of each world and way of observing it: what differs from the defaults of the configuration."""

from __future__ import annotations

from typing import Any

_CURVES: dict[str, Any] = {
    "horizon": 20,
    "data": {"train": 300, "test": 60, "frames": 48},
    "encoder": {"kind": "sequence", "dim": 16, "width": 48, "depth": 1},
    "jepa": {"steps": 800, "batch": 128, "rollout": 3},
    "predictor": {"steps": 400, "batch": 128, "width": 64, "rollout": 4},
    "decoder": {"steps": 400, "width": 64},
}
_WELLS: dict[str, Any] = {
    "parameters": {"stride": 4},  # a step of BAOAB has to resolve the wells' own frequency
    "horizon": 50,
    "data": {"train": 1000, "test": 30, "frames": 800},  # 150 hold some 70 crossings, which leaves populations open
    "encoder": {"kind": "standard"},
    "jepa": {"steps": 1, "rollout": 1},
    "predictor": {"kind": "langevin", "rivals": (), "steps": 3000, "batch": 4096, "width": 32, "learning_rate": 1e-2,
                  "rollout": 1},
    "decoder": {"steps": 400, "width": 64},
}  # fmt: skip
# Two dimensions need more updates, and at the rate of the double well rollouts strayed from where the data are.
_TWO_DIMENSIONAL_WELLS: dict[str, Any] = {
    **_WELLS,
    "predictor": {**_WELLS["predictor"], "steps": 9000, "batch": 1024, "learning_rate": 5e-3},
}
_PARTICLES: dict[str, Any] = {
    "horizon": 20,
    "data": {"train": 40, "test": 8, "frames": 60},
    "encoder": {"kind": "particles", "dim": 64, "width": 48, "depth": 2},
    "jepa": {"steps": 600, "batch": 16, "rollout": 2, "sample": "token"},
    # Trained over the whole horizon: over shorter rollouts forecasts heat or cool beyond them.
    "predictor": {"kind": "residual", "rivals": (), "steps": 600, "batch": 16, "width": 32, "rollout": 20},
    "decoder": {"steps": 600, "batch": 64, "learning_rate": 1e-2},
}  # fmt: skip
_PICTURES: dict[str, Any] = {
    "horizon": 40,
    "data": {"train": 400, "test": 40, "frames": 60},
    "encoder": {"kind": "frames", "dim": 256, "width": 256},
    # With a slow copy as target the places of things stayed a small part of the latent; gradients through both sides
    # make the encoder look for what can be predicted.
    "jepa": {"steps": 1500, "batch": 256, "rollout": 3, "learning_rate": 3e-3, "ema": None, "covariance": 0.1},
    "predictor": {"steps": 800, "batch": 128, "width": 128, "rollout": 6},
    "decoder": {"steps": 1000, "batch": 64, "width": 256},
}

RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("double-pendulum", "coordinates"): {
        "data": {"train": 150, "test": 30},
        "encoder": {"kind": "vector", "dim": 128, "width": 128},
        "jepa": {"steps": 1200, "batch": 128},
        "predictor": {"steps": 500, "batch": 128, "width": 96, "rollout": 6},
        "decoder": {"steps": 800},
    },
    ("double-pendulum", "pixels"): _PICTURES,
    ("circles", "coordinates"): _CURVES,
    ("lines", "coordinates"): _CURVES,
    ("two-balls", "state"): {
        "horizon": 30,
        "data": {"train": 200, "test": 40, "frames": 60},
        "encoder": {"kind": "vector", "dim": 16, "width": 96},
        "jepa": {"steps": 800, "batch": 128, "rollout": 3},
        "predictor": {
            "kind": "hamiltonian", "rivals": ("hamiltonian-energy-term", "hamiltonian-euler", "residual", "mlp",
                                              "large-mlp"),
            "steps": 200, "batch": 128, "width": 64, "rollout": 5,
        },
        "decoder": {"steps": 600},
    },
    ("two-balls", "pixels"): _PICTURES,
    ("double-well", "state"): _WELLS,
    ("double-well", "coordinates"): _WELLS,
    ("muller-brown", "state"): _TWO_DIMENSIONAL_WELLS,
    ("muller-brown", "coordinates"): _TWO_DIMENSIONAL_WELLS,
    ("lennard-jones", "particles"): _PARTICLES,
    ("argon", "particles"): _PARTICLES,
}  # fmt: skip


def recipe(world: str, observe: str) -> dict[str, Any]:
    """Settings of a world seen in one way, over the defaults of the configuration.

    Raises:
        KeyError: there is none; `WORLDS` and `RECIPES` are kept in step by a test.
    """
    return RECIPES[world, observe]
