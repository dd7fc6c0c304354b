"""Progress of stages: parts add up to their stage."""

from __future__ import annotations

from latentmd.io.progress import part_of


def test_parts_count_on_from_what_was_done_before():
    seen = []
    tick = part_of(lambda done, total: seen.append((done, total)), 10, 30)
    tick(0, 5)
    tick(5, None)
    assert seen == [(10, 30), (15, 30)]
