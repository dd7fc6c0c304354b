"""`latentmd`: the command group. A command's module is imported only when it is used."""

from __future__ import annotations

import signal
import threading
from importlib import import_module

import click

#: Command name → (module:attribute, one line of help).
COMMANDS = {
    "simulate": ("latentmd.cli.simulate:simulate_command", "Simulate a molecule with a model."),
    "scan": ("latentmd.cli.scan:scan_command", "Scan torsions: relaxed and free-energy profiles of bonds."),
    "paths": ("latentmd.cli.paths:paths_command", "Draw transition paths between two structures or states."),
    "upsample": ("latentmd.cli.paths:upsample_command", "Fill in frames between those of a trajectory."),
    "inpaint": ("latentmd.cli.paths:inpaint_command", "Draw some residues of a trajectory given the others."),
    "md": ("latentmd.cli.md:md_command", "Simulate plain full-atom MD; the source of training data."),
    "train": ("latentmd.cli.train:train_command", "Train a model from trajectories."),
    "bind": ("latentmd.cli.systems:bind_command", "Make a model of one peptide from a model of many."),
    "evaluate": ("latentmd.cli.evaluate:evaluate_command", "Compare trajectories or a model with reference MD."),
    "benchmark": ("latentmd.cli.benchmark:benchmark_command", "Measure the speed of MD and models on this machine."),
    "latents": ("latentmd.cli.latents:latents_command", "Describe a model's latent on trajectories."),
    "inspect": ("latentmd.cli.inspect:inspect_command", "Show what a model file is and where it holds."),
    "systems": ("latentmd.cli.systems:systems_command", "List the bundled molecules and models."),
}


class LazyGroup(click.Group):
    """A group that knows its commands' names and help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names, in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        if cmd_name not in COMMANDS:
            return None
        module, attribute = COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list in `latentmd --help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(package_name="latentmd")
@click.pass_context
def main(ctx: click.Context) -> None:
    """Surrogate molecular dynamics inside OpenMM and ASE.

    \b
    Start here:
      latentmd systems
      latentmd simulate systems/molecules/alanine_dipeptide.pdb
    """
    if threading.current_thread() is threading.main_thread():
        # Batch systems ask with SIGTERM what users do with Ctrl-C.
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)
        ctx.call_on_close(lambda: signal.signal(signal.SIGTERM, before))
