"""Results as JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from latentmd.report import record


def test_arrays_become_lists_and_undefined_numbers_null(tmp_path: Path) -> None:
    record.write_json(tmp_path / "x.json", {"a": float("nan"), "b": np.float32(1.5), "c": np.arange(2), "d": (1,)})
    assert json.loads((tmp_path / "x.json").read_text()) == {"a": None, "b": 1.5, "c": [0, 1], "d": [1]}
    with pytest.raises(UnicodeEncodeError):
        record.write_text(tmp_path / "x.json", "\udcff")
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_empty_fields_of_dataclasses_are_left_out() -> None:
    @dataclass
    class Row:
        value: float
        note: str = ""
        low: float | None = None

    assert record.plain(Row(np.float64(2.0))) == {"value": 2.0}
    assert record.plain({Path("a"): [np.bool_(True), Path("b")]}) == {"a": [True, "b"]}
