"""Progress of stages: parts add up to their stage, and the commands' bar shows rate and time left."""

from __future__ import annotations

import io

from latentmd.cli.evaluate import Stages
from latentmd.io.progress import part_of


def test_parts_count_on_from_what_was_done_before():
    seen = []
    tick = part_of(lambda done, total: seen.append((done, total)), 10, 30)
    tick(0, 5)
    tick(5, None)
    assert seen == [(10, 30), (15, 30)]


def test_the_bar_shows_a_stage_its_rate_and_the_time_left():
    from rich.console import Console

    with Stages() as stages:
        now = 0.0
        stages.bar.get_time = lambda: now
        for now in range(5):
            stages("rolling out", 10.0 * now, 100.0)
        shown = io.StringIO()
        Console(file=shown, width=100).print(stages.bar.get_renderable())
        assert "rolling out" in shown.getvalue() and "10/s" in shown.getvalue() and "0:00:06" in shown.getvalue()
        stages("comparing")
        shown = io.StringIO()
        Console(file=shown, width=100).print(stages.bar.get_renderable())
        assert "comparing" in shown.getvalue() and "rolling out" not in shown.getvalue()
