"""Bundled molecules are found by name."""

from __future__ import annotations

import pytest

from latentmd.systems.bundled import bundled, molecules


def test_every_bundled_molecule_is_found_by_its_name() -> None:
    assert len(molecules()) >= 6
    for path in molecules():
        assert bundled(path.stem) == path and path.read_text().startswith(
            ("REMARK", "ATOM", "CRYST1", "TITLE", "HETATM")
        )


def test_an_unknown_name_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ValueError, match=r"'water'; expected one of alanine_dipeptide"):
        bundled("water")
