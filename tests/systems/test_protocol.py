"""Protocols and choices of input: defaults by solvent, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from latentmd.systems.errors import MoleculeError
from latentmd.systems.protocol import DEFAULT_FORCE_FIELDS, DEFAULT_INPUTS, InputOptions, Protocol


def test_the_solvent_decides_the_force_field_unless_one_is_named() -> None:
    for solvent, files in DEFAULT_FORCE_FIELDS.items():
        assert Protocol(solvent).force_field_files == files
    assert Protocol("vacuum", ("my.xml",)).force_field_files == ("my.xml",)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"ph": 15}, "--ph is 15"),
        ({"missing": "guess"}, "--missing is 'guess'; expected refuse, add or split"),
        ({"ends": "open"}, "--ends is 'open'"),
        ({"altloc": "AB"}, "--altloc is 'AB'; expected one character"),
    ],
)
def test_bad_options_say_what_is_expected(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        InputOptions(**options)


def test_defaults_refuse_to_guess() -> None:
    assert DEFAULT_INPUTS == InputOptions() and DEFAULT_INPUTS.missing == "refuse"
