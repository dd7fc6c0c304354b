"""Times of the commands, and options that become one argument."""

from __future__ import annotations

from dataclasses import dataclass

import click
import pytest
from click.testing import CliRunner

from latentmd.cli.options import Time, WallTime, settings_of, several, shown


def test_times_are_picoseconds_and_wall_times_seconds() -> None:
    assert Time().convert("2ns", None, None) == 2000.0
    assert [WallTime().convert(text, None, None) for text in ("30s", "2min", "1.5h")] == [30.0, 120.0, 5400.0]
    for text in ("10", "-1s", "xmin"):
        with pytest.raises(click.BadParameter, match="is not a wall time"):
            WallTime().convert(text, None, None)


@dataclass
class Settings:
    """Options of a command."""

    walkers: int = 1

    def __post_init__(self) -> None:
        if self.walkers > 9:
            raise ValueError("--walkers is too many")


def test_options_become_one_argument_or_a_message() -> None:
    @click.command()
    @several([shown("--walkers", type=int, default=2), settings_of(f"{__name__}:Settings")])
    def command(settings: Settings) -> None:
        click.echo(settings.walkers)

    assert CliRunner().invoke(command, ["--walkers", "3"]).output == "3\n"
    refused = CliRunner().invoke(command, ["--walkers", "10"])
    assert refused.exit_code == 2 and refused.output == "Error: --walkers is too many\n"
    assert "[default: 2]" in CliRunner().invoke(command, ["--help"]).output
