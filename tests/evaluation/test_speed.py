"""Timing helpers: what they count, never how long it takes."""

from __future__ import annotations

import io

import numpy as np
import pytest

from latentmd.evaluation import speed


def test_rate_counts_calls_and_orders_its_repeats():
    calls = []
    rate = speed.rate(lambda: calls.append(1), seconds=0.01, repeats=3)
    assert rate.calls == len(calls) - 1 >= 3
    assert 0 < rate.low <= rate.per_second <= rate.high


def test_operations_of_a_matrix_product_are_exact():
    import torch

    a, b = torch.zeros(30, 40), torch.zeros(40, 50)
    assert speed.operations(lambda: a @ b) == pytest.approx(2 * 30 * 40 * 50 * 1e-9, rel=1e-12)


def test_peak_memory_grows_with_what_is_held():
    before = speed.peak_memory()
    held = np.ones(30_000_000)
    assert speed.peak_memory() >= max(before, held.nbytes / 2**20)


def test_import_time_is_that_of_the_statement():
    assert 0.1 < speed.import_seconds("import time; time.sleep(0.2)", repeats=1)


def _shown(table):
    from rich.console import Console

    stream = io.StringIO()
    Console(width=80, file=stream).print(table)
    return stream.getvalue()


def test_tables_show_every_number_on_eighty_columns():
    row = speed.Row(
        name="rollout, decoded every 200 ps",
        size="1024 walkers",
        rate=12456.0,
        unit="frames/s",
        low=1.0,
        high=2.0,
        simulated=2042.0,
        share=0.905,
        memory=805.4,
    )
    text = _shown(speed.table([row]))
    for part in ("12456 frames/s", "1024 walkers", "2042", "90.5 %", "805"):
        assert part in text
    scan = [
        {"atoms": 22, "MD Reference, s/step": 0.5, "peak memory, MiB": 100.0},
        {"atoms": 10012, "MD CPU, s/step": 3},
    ]
    text = _shown(speed.scan_table(scan))
    assert "10012" in text and text.count("–") == 3 and max(map(len, text.splitlines())) <= 80
