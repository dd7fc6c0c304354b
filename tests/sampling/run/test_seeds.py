"""Random numbers of tasks."""

from __future__ import annotations

from latentmd.sampling.run.seeds import PLAN, REVIEW, keyed_rng, keyed_seed


def test_keys_tell_purposes_rounds_and_tasks_apart() -> None:
    keys = [(s, r, p, t) for s in (0, 1) for r in (0, 1) for p in (PLAN, REVIEW) for t in (0, 1)]
    assert len({keyed_seed(*key) for key in keys}) == len(keys)
    assert keyed_rng(3, 2, REVIEW, 1).integers(1000) == keyed_rng(3, 2, REVIEW, 1).integers(1000)
    assert all(0 <= keyed_seed(*key) < 2**31 for key in keys)
