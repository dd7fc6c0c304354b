"""`latentmd inpaint`: the dynamics of some residues drawn given that of the others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from latentmd.cli.common import input_options, run_errors
from latentmd.cli.fill import fill_options, show_fill
from latentmd.cli.progress import Display


class Residues(click.ParamType[tuple[int, ...]]):
    """Numbers of residues, such as 2,3 or 2-5."""

    name = "residues"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """The numbers, sorted.

        Args:
            value: text, or what a default already is.
            param: option that it belongs to.
            ctx: of the command.
        """
        if isinstance(value, tuple):
            return value
        numbers: set[int] = set()
        for part in str(value).split(","):
            first, dash, last = part.strip().partition("-")
            if not first.isdecimal() or (dash and (not last.isdecimal() or int(last) < int(first))):
                self.fail(f"{value!r} names no residues; expected numbers such as 2,3 or 2-5", param, ctx)
            numbers |= set(range(int(first), int(last or first) + 1))
        return tuple(sorted(numbers))


@click.command(
    "inpaint",
    epilog="""\b
Examples:
  latentmd inpaint walker-0000.xtc --top topology.pdb --residues 2
  latentmd inpaint run.dcd --interval 10ps --top my.pdb --model my.pt --residues 2,3 --out drawn
  latentmd inpaint run.xtc --top my.pdb --model my.pt --residues 2,3 --design""",
)
@click.argument("trajectory", type=click.Path(path_type=Path))
@click.option("--top", required=True, type=click.Path(path_type=Path), help="PDB file of the trajectory's atoms.")
@click.option("--residues", required=True, type=Residues(), help="Residues to draw, such as 2,3 or 2-5.")
@click.option("--design", is_flag=True, help="Also weigh which residues they might be (model of many peptides).")
@fill_options
@input_options
def inpaint_command(trajectory: Path, top: Path, residues: tuple[int, ...], **options: Any) -> None:
    """Draw the dynamics of the named residues given that of the others in TRAJECTORY.

    What the file says about the named residues is not looked at. The others keep their coordinates, turned and moved
    onto the structure in --top. Writes inpaint.xtc, topology.pdb, provenance.csv (how each frame was made),
    summary.json, inpaint.png and inpaint.html.

    With --design, which residues the named ones might be is weighed as well, as probabilities (design.csv): one or two
    beside each other, with residues on either side. The model must be one that `latentmd bind` made.
    """
    from latentmd.sampling.paths.inpaint import inpaint

    with run_errors():
        with Display() as display:
            result = inpaint(trajectory, top, residues, progress=display, **options)
        show_fill(result, "inpaint")
        for number, name in result.summary.get("design", {}).items():
            click.echo(f"residue {number} is most likely {name}; design.csv has all probabilities")
