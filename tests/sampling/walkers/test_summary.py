"""Counts of the workers, and speeds by hand."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from types import SimpleNamespace as Record
from typing import Any

import pytest

from latentmd.model.manifest import ZeroShot
from latentmd.sampling.walkers.run import Tally, _speed, next_lines, trust
from tests.command_lines import parse


def test_phases_are_means_over_workers() -> None:
    tally = Tally({0: 2, 1: 3}, phases=[{"md": 1.0, "start": 2.0}, {"md": 3.0}])
    assert tally.total == 5 and tally.mean_phases == {"md": 2.0, "start": 1.0}


def test_speeds_by_hand() -> None:
    """100 ps in 10 s are 864 ns/day; plain MD on two cores at 0.5 ps/s each makes 5 ps in the 5 s of work."""
    plan: Any = SimpleNamespace(wall={"simulation": 10.0, "total": 20.0}, settings=SimpleNamespace(mode="latent"))
    phases = [{"start": 1.0, "latent steps": 2.0, "decoding": 3.0}] * 2
    speed = _speed(plan, Tally({0: 1}, speeds={"OpenMM": [0.5, 0.5]}, phases=phases), 100.0)
    assert speed["ns_per_day"] == pytest.approx(864.0) and speed["plain_md_ns_per_day"] == pytest.approx(86.4)
    assert speed["over_plain_md"] == pytest.approx(100.0 / 5.0)
    assert speed["over_plain_md_with_start_up"] == pytest.approx(100.0 / 20.0)
    assert speed["latent_rollouts_over_plain_md"] == pytest.approx(100.0 / 5.0)


def test_without_a_comparison_there_is_only_the_rate() -> None:
    plan: Any = SimpleNamespace(wall={"simulation": 10.0, "total": 20.0}, settings=SimpleNamespace(mode="md"))
    assert list(_speed(plan, Tally({0: 1}), 100.0)) == ["ns_per_day"]


FOUND = ZeroShot(model="peptides", sha256="0", sequence="ALA-GLY", trained=False, nearest=[("ALA-ALA", 1)], pairs=0.5)


def _plan(model: Any = None) -> Any:
    protocol = Record(force_field_files=("amber14/protein.ff14SB.xml", "implicit/obc2.xml"), temperature=350.0)
    prepared = Record(molecule=Record(protocol=protocol, own_force_field=()), source=Path("a b.pdb"))
    return Record(model=model, prepared=prepared, settings=Record(out=Path("my run"), interval=100.0))


OWN = Record(manifest=Record(name="alanine-dipeptide", reference=Record(frames=300_000), of_force_field=True))


def test_what_is_said_depends_on_what_made_the_frames() -> None:
    assert trust(_plan(), None) == [
        "plain MD with the force field of amber14/protein.ff14SB.xml, implicit/obc2.xml; no model made any frame"
    ]
    assert "300,000 frames" in trust(_plan(OWN), None)[0]
    assert trust(_plan(OWN), FOUND)[0].startswith("zero-shot") and "are the model's" in trust(_plan(OWN), FOUND)[-1]


@pytest.mark.parametrize(("model", "found"), [(None, None), (OWN, None), (OWN, FOUND)])
def test_commands_parse(model: Any, found: ZeroShot | None) -> None:
    for line in next_lines(_plan(model), found):
        parse(line)
