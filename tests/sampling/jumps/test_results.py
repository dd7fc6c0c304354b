"""What the page of jumps says of blocks and of plain MD beside them."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.integrators.torsion_jumps import Jump
from latentmd.sampling.jumps.results import block_counts, jump_lines


def _jump(work: float, accepted: bool) -> Jump:
    how = {"log_ratio": 0.0, "log_acceptance": min(0.0, -work / 2.5), "accepted": accepted}
    return Jump(0, 1.0, "ALA2", (0.0,), (1.0,), end=(1.0,), length=5.0, work=work, **how)


def test_counts_of_a_block_are_in_kt_and_failed_jumps_count_as_refused() -> None:
    counts = block_counts([_jump(5.0, True), _jump(2.5, False), _jump(np.inf, False)], kt=2.5)["ALA2"]
    assert (counts["tried"], counts["accepted"], counts["length (ps)"]) == (3, 1, 5.0)
    assert (counts["tenth of work (kT)"], counts["median work (kT)"]) == (1.0, 2.0)
    assert counts["mean acceptance"] == pytest.approx((np.exp(-2) + np.exp(-1)) / 3)


@pytest.mark.parametrize(("ours", "better"), [(20.0, True), (3.0, False), (None, True)])
def test_the_lines_say_which_is_better(ours: float | None, better: bool) -> None:
    blocks = block_counts([_jump(5.0, True)], kt=2.5)
    summary = {"mode": "jumps", "frames": 7, "simulated_ps": 30.0, "effective_samples": ours, "blocks": blocks}
    said = jump_lines({**summary, "plain_md": {"effective_samples": 7.0}})
    assert "30 ps of force calls" in said[0] and said[1] == "jumps of ALA2: 1 of 1 accepted, 5 ps each"
    assert ("--mode md is the better choice" in said[2]) is not better
    assert len(jump_lines({**summary, "plain_md": None})) == 2
