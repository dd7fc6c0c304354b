"""Settings of the rounds: ranges, and what a resumed run may change."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from latentmd.sampling.hybrid.convergence import Criteria
from latentmd.sampling.hybrid.settings import RoundSettings


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"starts": 1}, "starts is 1; expected at least 2"),
        ({"frames": 40, "relaxation": 10, "lag": 10}, "expected more than 40"),
        ({"proposals": 1.5}, "proposals is 1.5; expected a share between 0 and 1"),
        ({"growth": 1.0}, "growth is 1.0; expected a factor above 1"),
        ({"wall": 0.0}, "wall is 0.0; expected a positive number"),
    ],
)
def test_numbers_out_of_range(change: dict[str, Any], text: str) -> None:
    with pytest.raises(ValueError, match=text):
        RoundSettings(**change)


def test_budgets_and_precision_may_change_and_the_rest_may_not() -> None:
    one = RoundSettings()
    assert replace(one, time=5.0, wall=9.0, agreement=3, criteria=Criteria(precision=1.0)).identity() == one.identity()
    for change in ({"seed": 1}, {"lag": 9}, {"cells": 50}, {"criteria": Criteria(connected=0.5)}):
        assert replace(one, **change).identity() != one.identity()  # type: ignore[arg-type]
