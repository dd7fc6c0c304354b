"""Exact chains as asked for: refusals before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from latentmd.sampling.metropolis.chains import chains
from latentmd.sampling.metropolis.settings import ChainsRequest

MOLECULES = Path(__file__).parents[3] / "systems" / "molecules"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"model": "nothing"}, "nothing: no such model file or bundled model"),
        ({"model": "peptides"}, "is one of many peptides; leave out --model"),
        ({"solvent": "explicit"}, "cannot move the water around it"),
        ({"temperature": -1.0}, "--temperature is -1 K"),
    ],
)
def test_refusals_write_nothing(options: dict[str, Any], reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason):
        chains(MOLECULES / "alanine_dipeptide.pdb", ChainsRequest(out=tmp_path / "run", **options))
    assert not (tmp_path / "run").exists()
