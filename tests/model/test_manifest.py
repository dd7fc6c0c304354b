"""The manifest of a model file: strict fields, the molecule it describes, what it covers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openmm import app
from pydantic import ValidationError

from latentmd.model.manifest import FORMAT, UNITS, Manifest, split_time
from latentmd.molecule.chemistry import chemistry

GLYCINE = Path(__file__).parents[2] / "systems" / "molecules" / "glycine_dipeptide.pdb"


@pytest.fixture
def fields(ou_manifest: dict[str, Any]) -> dict[str, Any]:
    return dict(ou_manifest)


def test_json_round_trip(fields: dict[str, Any]) -> None:
    manifest = Manifest(**fields)
    assert Manifest.model_validate_json(manifest.model_dump_json()) == manifest
    assert manifest.format == FORMAT and manifest.units == UNITS


@pytest.mark.parametrize(
    ("field", "value"),
    [("temperature", 0.0), ("timestep", -1.0), ("slow_axes", 0), ("format", "other"), ("topology", ""),
     ("unknown", 1), ("dtype", "float16"), ("lag", (1.0,))],
)  # fmt: skip
def test_wrong_and_unknown_fields_are_refused(fields: dict[str, Any], field: str, value: Any) -> None:
    with pytest.raises(ValidationError, match=field):
        Manifest(**{**fields, field: value})


def test_the_molecule_is_read_from_its_text(fields: dict[str, Any], alanine: Any) -> None:
    topology, x = Manifest(**fields).molecule()
    assert [atom.name for atom in topology.atoms()] == [atom.name for atom in alanine.topology.atoms()]
    assert x.dtype == np.float32
    np.testing.assert_allclose(x, np.asarray(alanine.positions._value), atol=1e-4)


def test_it_covers_its_molecule_alone(fields: dict[str, Any], alanine: Any) -> None:
    manifest = Manifest(**fields)
    assert manifest.covers(alanine.topology)
    answer = manifest.covers(app.PDBFile(str(GLYCINE)).topology)
    assert not answer and "22" in str(answer.reason)


def test_it_covers_one_stereoisomer_in_any_order(fields: dict[str, Any], alanine: Any) -> None:
    manifest, x = Manifest(**fields), np.asarray(alanine.positions._value)
    order = np.random.default_rng(0).permutation(22)
    record = chemistry(alanine.topology).reordered(order)
    found = manifest.covers(record, x[order])
    assert found and order[list(found.order)].tolist() == list(range(22))
    answer = manifest.covers(record, -x[order])
    assert not answer and "other handedness at ALA2-CA (the mirror image)" in answer.reason
    assert manifest.covers(record)  # without a structure no hand is known


def test_the_fewest_equal_steps_within_the_range() -> None:
    rng = np.random.default_rng(0)
    for _ in range(300):
        shortest = float(rng.uniform(1, 10))
        longest = shortest * float(rng.uniform(2, 5))
        time = float(rng.uniform(shortest, 20 * longest))
        steps, lag = split_time(time, (shortest, longest))
        assert steps * lag == pytest.approx(time, rel=1e-5) and shortest <= lag <= longest
        assert steps == 1 or time / (steps - 1) > longest * (1 - 1e-6)


def test_rounding_of_units_costs_no_step() -> None:
    assert split_time(100.00001, (10.0, 50.0)) == (2, 50.0)
    assert split_time(9.999999, (10.0, 50.0)) == (1, 10.0)


@pytest.mark.parametrize("time", [0.0, -5.0, 9.0, 75.0, math.nan, math.inf])
def test_impossible_times_say_what_is_possible(time: float) -> None:
    with pytest.raises(ValueError, match=r"its lags are (10|50) to (50|60) ps; expected a multiple"):
        split_time(time, (50.0, 60.0) if time == 75.0 else (10.0, 50.0))
