"""Messages and exit codes of the commands."""

from __future__ import annotations

import logging
from pathlib import Path

import click
import pytest

from latentmd.cli.common import INTERRUPTED, BadInput, run_errors
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
