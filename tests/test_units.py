"""Times with units, shares in per cent."""

from __future__ import annotations

import pytest

from latentmd import units


@pytest.mark.parametrize(
    ("text", "picoseconds"),
    [("10ns", 1e4), ("100 ps", 100.0), ("4fs", 0.004), ("1.5us", 1.5e6), ("1e2ps", 100.0), ("2µs", 2e6), (".5ns", 5e2)],
)
def test_parse_time(text: str, picoseconds: float) -> None:
    assert units.parse_time(text) == pytest.approx(picoseconds, rel=1e-12)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("10", "no unit"),
        ("ten ns", "not a time"),
        ("", "not a time"),
        ("10 hours", "unknown unit 'hours'"),
        ("10NS", "unknown unit 'NS'"),
        ("0ps", "not positive"),
        ("-1ns", "not positive"),
        ("1e999ns", "not positive"),
    ],
)
def test_refused_times_say_what_is_expected(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        units.parse_time(text)
    assert "such as 10ns" in str(caught.value)


@pytest.mark.parametrize("time", [0.004, 1.0, 2.0, 98.0, 100.0, 1000.0, 12345.0, 6e7])
def test_format_time_round_trips(time: float) -> None:
    assert units.parse_time(units.format_time(time)) == pytest.approx(time, rel=1e-5)


def test_thermal_energy_at_room_temperature() -> None:
    assert units.thermal_energy(298.15) == pytest.approx(2.4790, abs=1e-4)


def test_percent() -> None:
    assert (units.percent(0.9987, 2), units.percent(1.0), units.percent(0.0)) == ("99.87 %", "100 %", "0 %")


@pytest.mark.parametrize(
    ("error", "text"),
    [(ValueError("one\ntwo"), "one"), (ValueError("\n  one  \n"), "one"), (KeyError(), "KeyError")],
)
def test_first_line(error: Exception, text: str) -> None:
    assert units.first_line(error) == text
