"""Timing helpers: what they count, never how long it takes."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import openmm
import pytest

from latentmd.evaluation import speed
from latentmd.evaluation.speed import REPLICA_MD, REPLICAS, per_core, replica_row
from latentmd.replicas.library import library

compiled = pytest.mark.skipif(library() is None, reason="the kernel is not installed: there was no C++ compiler")


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


@compiled
def test_the_row_counts_the_steps_of_all_walkers(alanine: Any) -> None:
    row = replica_row(alanine, 0.02)
    assert row.name == REPLICA_MD and int(row.size.split()[0]) >= REPLICAS
    assert 0 < row.low <= row.rate <= row.high
    assert row.simulated == pytest.approx(row.rate * alanine.protocol.timestep / 1000)


@compiled
def test_the_comparison_is_with_the_fastest_platform(alanine: Any) -> None:
    found = per_core(alanine, 0.02, rounds=1)
    assert found is not None and found.atoms == 22 and set(found.openmm) == {"Reference", "CPU"}
    assert found.ratio[0] == pytest.approx(min(found.openmm.values()) / found.engine)
    assert f"{found.ratio[0]:.1f} times" in str(found)


def test_a_force_that_the_engine_does_not_know_is_named(alanine: Any) -> None:
    system = openmm.XmlSerializer.clone(alanine.system)
    system.addForce(openmm.CustomBondForce("0"))
    molecule = replace(alanine, system=system)
    row = replica_row(molecule, 0.02)
    assert np.isnan(row.rate) and ("CustomBondForce" in row.note or library() is None)
    assert per_core(molecule, 0.02) is None


@compiled
def test_a_comparison_is_consistent_with_itself(alanine: Any) -> None:
    row = per_core(alanine, replicas=16, variant="portable", rounds=3, seconds=0.02)
    assert row is not None and (row.atoms, row.replicas, row.variant) == (22, 16, "portable")
    assert set(row.openmm) == {"Reference", "CPU"} and min(row.openmm.values()) > 0 and row.engine > 0
    assert row.ratio[1] <= row.ratio[0] <= row.ratio[2]
