"""Metrics as cells, and the tables of the terminal."""

from __future__ import annotations

import pytest

from latentmd.analysis.metric import SHARE, Metric
from latentmd.report import tables


def test_numbers() -> None:
    assert [tables.number(x) for x in (0.12345, 29442.5, 2.4e5, float("inf"), float("nan"), None, 0.0)] == [
        "0.123", "29442", "2.40e+05", "∞", "–", "–", "0",
    ]  # fmt: skip


def test_shares_are_per_cent_with_digits_that_tell_them_from_all_and_none() -> None:
    values = [0.0, 1.0, 0.5, 0.9985, 0.99985, 0.0002, float("nan"), None]
    assert [tables.cell(x, SHARE) for x in values] == [
        "0 %", "100 %", "50.0 %", "99.9 %", "99.985 %", "0.020 %", "–", "–",
    ]  # fmt: skip
    assert tables.cell(0.5) == "0.5" and tables.interval(0.25, 0.5, SHARE) == "25.0 % to 50.0 %"
    row = tables.baseline_columns([Metric("p", "structure", 0.9, SHARE)], {"b": [Metric("p", "structure", 0.8, SHARE)]})
    assert row[0][:2] == ["p", "90.0 %"] and row[0][2].startswith("80.0 %")


def test_seeds_give_a_mean_and_students_interval(capsys: pytest.CaptureFixture[str]) -> None:
    """Three values 1, 2, 3: mean 2, half width t(0.975, 2) / sqrt(3) = 4.3027 / 1.7321."""
    metric = Metric("JS", "distribution", 1.0, seeds=(1.0, 2.0, 3.0))
    mean, spread, each = tables.seed_summary(metric)
    assert (mean, each) == ("2", "1, 2, 3") and spread == tables.interval(2 - 2.48414, 2 + 2.48414)
    assert tables.seed_summary(Metric("MFPT", "kinetics", 1.0, seeds=(1.0, float("inf"))))[:2] == ("∞", "")
    assert tables.seed_summary(Metric("JS", "distribution", 1.0)) == ("", "", "")
    tables.print_tables("x", [metric], {}, ["of three seeds"])
    shown = capsys.readouterr().out
    assert "Seeds of the rollouts" in shown and "note: of three seeds" in shown


def test_a_baseline_is_marked_where_it_does_as_well() -> None:
    metric = Metric("JS", "distribution", 0.2)
    assert tables.matches(metric, 0.2) and not tables.matches(metric, 0.3)
    assert tables.matches(Metric("samples", "sampling", 5.0), 6.0)
    towards = Metric("time", "kinetics", 90.0, reference=100.0)
    assert tables.matches(towards, 95.0) and not tables.matches(towards, 120.0)
    assert tables.baseline_columns([metric], {"msm": [Metric("JS", "distribution", 0.1)]})[0][2] == "0.1 ="


def test_every_metric_is_in_the_table(capsys: pytest.CaptureFixture[str]) -> None:
    metrics = [Metric("JS", "distribution", 0.2, floor=0.1, floor_effective=0.05), Metric("RMSD", "model", 0.1, "nm")]
    tables.print_tables("Evaluation", metrics, {}, [])
    text = capsys.readouterr().out
    assert "JS" in text and "0.1 nm" in text and "(0.05)" in text
