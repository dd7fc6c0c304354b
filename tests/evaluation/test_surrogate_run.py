"""Steps of the rollouts of an evaluation."""

from __future__ import annotations

import pytest

from latentmd.evaluation.surrogate_run import default_step


def test_default_step_divides_the_lag():
    assert default_step((10.0, 200.0), 100.0, 1.0) == 20.0
    assert default_step((5.0, 50.0), 50.0, 5.0) == 10.0
    with pytest.raises(ValueError, match="no step"):
        default_step((60.0, 90.0), 100.0, 1.0)
