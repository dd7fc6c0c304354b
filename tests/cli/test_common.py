"""Messages and exit codes of the commands."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest

from latentmd.cli.common import INTERRUPTED, BadInput, run_errors, speed_line
from latentmd.sampling.run.stopping import RunError, RunInterrupted


def test_errors_become_exit_codes() -> None:
    with pytest.raises(BadInput, match="wrong") as wrong, run_errors():
        raise ValueError("wrong")
    with pytest.raises(click.ClickException, match="failed") as failed, run_errors():
        raise RunError("failed")
    assert (wrong.value.exit_code, failed.value.exit_code) == (2, 1)
    for error in (RunInterrupted(Path("run"), 3), KeyboardInterrupt()):
        with pytest.raises(SystemExit) as stopped, run_errors():
            raise error
        assert stopped.value.code == INTERRUPTED


def test_messages_of_the_library_are_shown_once(capsys: pytest.CaptureFixture[str]) -> None:
    with run_errors():
        logging.getLogger("latentmd.sampling.sample").warning("no model covers %s", "it")
    logging.getLogger("latentmd").debug("nothing")
    assert capsys.readouterr().err == "no model covers it\n"


def test_the_smaller_ratio_comes_first_and_the_other_beside_it() -> None:
    openmm = {"over_plain_md": 60.0, "plain_md_ns_per_day": 100.0, "over_plain_md_with_start_up": 6.0}
    engine = {"over_replica_engine": 3.0, "replica_engine_ns_per_day": 2000.0}
    assert speed_line(openmm | engine) == (
        "3.0 times the speed of plain MD on the same cores with the replica engine (2,000 ns/day; 0.3 times with "
        "start-up; 60.0 times that with OpenMM)"
    )
    assert speed_line(openmm).startswith("60.0 times the speed of plain MD on the same cores with OpenMM (100 ns/day;")
