"""Shared by the commands: messages, and errors as exit codes."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import click

INTERRUPTED = 130  # exit code after Ctrl-C or SIGTERM


class BadInput(click.ClickException):
    """Input that cannot be used."""

    exit_code = 2


def interrupted(message: object) -> NoReturn:
    """End the command after Ctrl-C or SIGTERM with one message."""
    click.echo(str(message), err=True)
    sys.exit(INTERRUPTED)


@contextmanager
def run_errors() -> Iterator[None]:
    """Turn errors of a run into exit codes with one message: 2 for wrong input, 1 for a failed run, 130 for Ctrl-C."""
    from latentmd.io.atomic import OutputError
    from latentmd.sampling.run.stopping import RunError, RunInterrupted

    logger, echo = logging.getLogger("latentmd"), logging.StreamHandler()  # messages of the library, to stderr
    echo.setLevel(logging.WARNING)
    logger.addHandler(echo)
    try:
        yield
    except RunInterrupted as error:
        interrupted(error)
    except KeyboardInterrupt:
        interrupted("stopped before anything was written")
    except RunError as error:
        raise click.ClickException(str(error)) from error
    except (ValueError, OutputError) as error:
        raise BadInput(str(error)) from error
    except OSError as error:
        raise click.ClickException(str(error)) from error
    finally:
        logger.removeHandler(echo)


def print_table(title: str, rows: Iterable[Sequence[str]], columns: Sequence[str] = ()) -> None:
    """Print a table with a title: rows under the names of their columns, or of a name and a value."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=title, show_header=bool(columns), title_justify="left", title_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column == "atoms" else "left")
    if not columns:
        table.add_column(style="cyan", no_wrap=True)
        table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console().print(table, highlight=False)
