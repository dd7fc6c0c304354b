"""The command group: light to start, complete, and clear about errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from latentmd.cli.main import COMMANDS, LazyGroup, main

HEAVY = ("openmm", "ase", "mdtraj", "matplotlib", "torch", "lightning", "deeptime", "scipy")


def loaded_by(code: str) -> set[str]:
    """Heavy modules that a fresh interpreter holds after some code."""
    script = f"import sys, json\n{code}\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    done = subprocess.run([sys.executable, "-P", "-c", script], capture_output=True, text=True, check=True)
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_importing_the_package_is_light() -> None:
    assert loaded_by("import latentmd") == set()


def test_help_is_light() -> None:
    code = "from latentmd.cli.main import main\ntry:\n    main(['--help'])\nexcept SystemExit:\n    pass"
    assert loaded_by(code) == set()


def test_help_of_a_command_needs_no_torch() -> None:
    code = "from latentmd.cli.main import main\ntry:\n    main(['simulate', '--help'])\nexcept SystemExit:\n    pass"
    assert loaded_by(code) == set()


def test_the_simulation_workflow_needs_no_training_packages() -> None:
    code = (
        "import latentmd\nlatentmd.simulate, latentmd.md, latentmd.Propagator\n"
        "import latentmd.sampling.walkers.plan, latentmd.integrators.schedule, latentmd.sampling.walkers.page"
    )
    assert not loaded_by(code) & {"lightning", "deeptime", "ase"}


def test_help_lists_every_command() -> None:
    result = CliRunner().invoke(main, ["--help"])
    assert result.exit_code == 0
    for name, (_, text) in COMMANDS.items():
        assert f"  {name}" in result.output and text in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_examples(name: str) -> None:
    result = CliRunner().invoke(main, [name, "--help"])
    assert result.exit_code == 0, result.output
    assert "Examples:" in result.output
    assert f"latentmd {name}" in result.output


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_has_help(name: str) -> None:
    command = main.get_command(click.Context(main), name)
    assert command is not None and command.name == name
    undocumented = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert set(undocumented) <= {"seed", "out", "device", "precision"}


def test_unknown_command_and_option() -> None:
    assert CliRunner().invoke(main, ["simulat"]).exit_code == 2
    result = CliRunner().invoke(main, ["simulate", "x.pdb", "--tiem", "1ns"])
    assert result.exit_code == 2 and "--time" in result.output


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"]).exit_code == 0


def test_public_names() -> None:
    import latentmd

    for name in latentmd.__all__:
        assert getattr(latentmd, name) is not None
    assert latentmd.__version__
    with pytest.raises(AttributeError, match="expected one of"):
        _ = latentmd.nothing


def test_sigterm_is_ctrl_c_while_a_command_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    @click.command()
    def ended() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except KeyboardInterrupt:
            click.echo("told")

    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(LazyGroup, "get_command", lambda *_: ended)
    assert CliRunner().invoke(main, ["md"]).output == "told\n"
    assert signal.getsignal(signal.SIGTERM) == before
