"""Command lines as documents and messages name them: whether `latentmd` accepts them."""

from __future__ import annotations

import shlex

import click

from latentmd.cli.main import main


def parse(line: str) -> None:
    """Parse a line as the shell and `latentmd` would, without running it.

    Raises:
        click.UsageError: it names a command, option or value that there is not.
    """
    program, *words = shlex.split(line, comments=True)
    assert program == "latentmd"
    command: click.Command = main
    while isinstance(command, click.Group):
        context = command.make_context(program, words)
        found = command.resolve_command(context, [*context._protected_args, *context.args])
        assert found[1] is not None
        program, command, words = found[0] or "", found[1], found[2]
    command.make_context(program, words)
