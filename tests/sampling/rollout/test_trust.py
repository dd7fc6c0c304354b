"""What the page of a run says of its trust, and the commands it offers."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace as Record
from typing import Any

import pytest

from latentmd.model.manifest import ZeroShot
from latentmd.sampling.rollout.trust import next_lines, trust
from tests.command_lines import parse

FOUND = ZeroShot(model="peptides", sha256="0", sequence="ALA-GLY", trained=False, nearest=[("ALA-ALA", 1)], pairs=0.5)


def _plan(model: Any = None) -> Any:
    protocol = Record(force_field_files=("amber14/protein.ff14SB.xml", "implicit/obc2.xml"), temperature=350.0)
    prepared = Record(molecule=Record(protocol=protocol, own_force_field=()), source=Path("a b.pdb"))
    return Record(model=model, prepared=prepared, settings=Record(out=Path("my run"), interval=100.0))


OWN = Record(manifest=Record(name="alanine-dipeptide", reference=Record(frames=300_000)))


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
