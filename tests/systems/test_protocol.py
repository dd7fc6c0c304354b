"""Protocols and choices of input: defaults by solvent, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

from latentmd.systems.protocol import (
    DEFAULT_FORCE_FIELDS,
    DEFAULT_INPUTS,
    InputOptions,
    MoleculeError,
    Protocol,
    without_water,
)


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
        ({"water": "tip9p"}, "--water is 'tip9p'; expected tip3p or opc"),
        ({"box": "sphere"}, "--box is 'sphere'; expected dodecahedron or cube"),
        ({"salt": -0.1}, "--salt is -0.1 mol/l; expected 0 to 5"),
        ({"padding": 0.0}, "--padding is 0 nm; expected more than 0"),
    ],
)
def test_bad_options_say_what_is_expected(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(MoleculeError, match=reason):
        InputOptions(**options)


def test_choices_of_water_are_for_explicit_solvent() -> None:
    inputs = InputOptions(water="opc", salt=0.15, ph=6.0)
    assert "amber14/opc.xml" in Protocol("explicit", inputs=inputs).force_field_files
    with pytest.raises(MoleculeError, match="are for --solvent explicit; add it"):
        Protocol("implicit", inputs=inputs)
    assert without_water(inputs) == InputOptions(ph=6.0)


def test_defaults_refuse_to_guess() -> None:
    assert DEFAULT_INPUTS == InputOptions() and DEFAULT_INPUTS.missing == "refuse"
