"""Counts of the workers, and speeds by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from latentmd.sampling.rollout.summary import Tally, _speed, package_version


def test_phases_are_means_over_workers() -> None:
    tally = Tally({0: 2, 1: 3}, phases=[{"md": 1.0, "start": 2.0}, {"md": 3.0}])
    assert tally.total == 5 and tally.mean_phases == {"md": 2.0, "start": 1.0}


def test_speeds_by_hand() -> None:
    """100 ps in 10 s are 864 ns/day; plain MD on two cores at 0.5 ps/s each makes 5 ps in the 5 s of work."""
    plan: Any = SimpleNamespace(wall={"simulation": 10.0, "total": 20.0}, settings=SimpleNamespace(mode="latent"))
    phases = [{"start": 1.0, "latent steps": 2.0, "decoding": 3.0}] * 2
    speed = _speed(plan, Tally({0: 1}, md_speeds=[0.5, 0.5], phases=phases), 100.0)
    assert speed["ns_per_day"] == pytest.approx(864.0) and speed["plain_md_ns_per_day"] == pytest.approx(86.4)
    assert speed["over_plain_md"] == pytest.approx(100.0 / 5.0)
    assert speed["over_plain_md_with_start_up"] == pytest.approx(100.0 / 20.0)
    assert speed["latent_rollouts_over_plain_md"] == pytest.approx(100.0 / 5.0)


def test_without_a_comparison_there_is_only_the_rate() -> None:
    plan: Any = SimpleNamespace(wall={"simulation": 10.0, "total": 20.0}, settings=SimpleNamespace(mode="md"))
    assert list(_speed(plan, Tally({0: 1}), 100.0)) == ["ns_per_day"]
    assert package_version("no-such-package") == "unknown"
