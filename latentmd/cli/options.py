"""Options that several commands have, and the times that they take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import fields
from functools import partial, wraps
from importlib import import_module
from pathlib import Path
from typing import Any, ClassVar

import click
from click import option

from latentmd.cli.common import BadInput
from latentmd.units import parse_time

PATH, AT_LEAST_ONE, NOT_NEGATIVE = click.Path(path_type=Path), click.IntRange(min=1), click.IntRange(min=0)
POSITIVE = click.FloatRange(min=0, min_open=True)
Decorator = Callable[[Any], Any]
shown = partial(option, show_default=True)


class Time(click.ParamType[float]):
    """A time with a unit, such as 10ns; converted to ps."""

    name = "time"

    def parse(self, text: str) -> float:
        """Picoseconds."""
        return parse_time(text)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The time as a number."""
        if isinstance(value, float):
            return value
        try:
            return self.parse(str(value))
        except ValueError as error:
            self.fail(str(error), param, ctx)


class WallTime(Time):
    """A wall time with a unit, such as 30min; converted to seconds."""

    name = "wall time"
    _seconds: ClassVar[dict[str, float]] = {"min": 60.0, "s": 1.0, "h": 3600.0}

    def parse(self, text: str) -> float:
        """Seconds."""
        text = text.strip()
        unit = next((unit for unit in self._seconds if text.endswith(unit)), "")
        with suppress(ValueError):
            number = float(text.removesuffix(unit))
            if unit and 0 < number < float("inf"):
                return number * self._seconds[unit]
        raise ValueError(
            f"{text!r} is not a wall time; expected a positive number and a unit (s, min or h), such as 30min"
        )


def several(options: Sequence[Decorator]) -> Decorator:
    """Several options of a command at once, shown in their order."""

    def add(command: Any) -> Any:
        for added in reversed(options):
            command = added(command)
        return command

    return add


def settings_of(kind: str, argument: str = "settings") -> Decorator:
    """Give a command its options that are fields of a dataclass ("module:name", imported on a call) as one argument."""
    module, name = kind.split(":")

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        @wraps(command)
        def packed(*args: Any, **options: Any) -> None:
            made = getattr(import_module(module), name)
            given = {field.name: options.pop(field.name) for field in fields(made) if field.name in options}
            try:
                settings = made(**given)
            except ValueError as error:
                raise BadInput(str(error)) from error
            command(*args, **{argument: settings}, **options)

        return packed

    return decorate


def source_of(file: Path | None, name: str | None, smiles: str | None) -> Path:
    """FILE, or of a small molecule by --smiles the name of its output; UsageError where both or none is given."""
    if file is None and smiles is None:
        raise click.UsageError("Missing argument 'FILE', or --smiles with a small molecule")
    if file is not None and name is not None:
        raise click.UsageError("--name is for --smiles without a FILE; --out names the output")
    return file or Path(name or "molecule")


def device(use: str) -> Decorator:
    """Where a model runs or is trained."""
    return shown("--device", type=click.Choice(["auto", "cpu", "cuda"]), default="auto", help=use)


def out(name: str) -> Decorator:
    """Output folder of an evaluation."""
    return shown("--out", type=PATH, default=Path(name), help="Output folder.")


def interval(of: str = "frames", such: str = ".npy, ...") -> Decorator:
    """Time between frames that have none."""
    told = f"Time between {of}, for files without times (DCD, XYZ, {such})."
    return option("--interval", type=Time(), help=told)


TOP = option("--top", type=PATH, required=True, help="PDB file of the molecule.")
SEED = shown("--seed", type=NOT_NEGATIVE, default=0, help="Decides all randomness.")
PROCESSES = option("--processes", type=AT_LEAST_ONE, help="Worker processes. [default: one per core]")
NAME = option("--name", help="With --smiles and no FILE: begins the name of the output. [default: molecule]")
MODEL = option("--model", help="Bundled model or path of one. [default: the bundled model that covers the molecule]")
FORCE_FIELD = partial(option, "--force-field", multiple=True, metavar="XML")
AGAIN = [
    option("--overwrite", is_flag=True, help="Replace an earlier run in the folder."),
    option("--resume", is_flag=True, help="Go on with the run in the folder; begins where there is none."),
]
#: Explicit water around a molecule that comes without; these belong before `INPUTS`.
BOX = [
    shown("--water", type=click.Choice(["tip3p", "opc"]), default="tip3p", help="Model of explicit water."),
    shown("--box", type=click.Choice(["dodecahedron", "cube"]), default="dodecahedron", help="Of water that is added."),
    option("--padding", type=POSITIVE, help="Water on every side of the molecule, nm. [default: 1, or what fits]"),
    shown("--salt", type=click.FloatRange(0, 5), default=0.0, help="NaCl in the water, mol/l, such as 0.15."),
]
SELECT = option("--select", default="", help="The solute in mdtraj's language.  [default: what is no water or ion]")
#: How the file of a molecule is read; a command gets them as one `inputs`.
INPUTS = [
    shown("--ph", type=float, default=7.0, help="Of residues not named by their protonation."),
    option("--model-number", type=int, help="MODEL to take of a file with several. [default: the first]"),
    option("--altloc", help="Alternate location to take. [default: of highest occupancy]"),
    shown(
        "--missing", type=click.Choice(["refuse", "add", "split"]), default="refuse",
        help="Gaps in a chain: refuse, add the residues that SEQRES names, or split the chain.",
    ),
    shown(
        "--ends", type=click.Choice(["charged", "capped"]), default="charged",
        help="Uncapped chain ends: leave them charged, or add ACE and NME.",
    ),
    option(
        "--positions", metavar="FILE", help="Coordinates of a prmtop, top or psf: inpcrd, rst7, gro, crd, pdb or cif."
    ),
    option(
        "--parameters", multiple=True, metavar="FILE", help="CHARMM parameters of a psf: prm, rtf or str; repeated."
    ),
    option("--system", metavar="XML", help="OpenMM System of the structure, in place of a force field."),
    option("--smiles", help="A small molecule, or the bonds and charges of the one in a PDB file."),
    option("--strip-salts", is_flag=True, help="Of several small molecules keep the largest."),
    SELECT,
    settings_of("latentmd.systems.protocol:InputOptions", "inputs"),
]  # fmt: skip
RUN = [SEED, PROCESSES, option("--out", type=PATH, help="Output folder. [default: <stem>-<command>]"), *AGAIN, *INPUTS]
