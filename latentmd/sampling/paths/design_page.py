"""Design as a part of inpainting: what is weighed, and its table, picture and file."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Bools, Floats, Ints
from latentmd.io.atomic import write_text
from latentmd.report import figures
from latentmd.report.markup import table
from latentmd.report.page import Section
from latentmd.sampling.paths.design import Design, Gap, design
from latentmd.sampling.request import Report

if TYPE_CHECKING:
    from latentmd.model.propagator import Propagator

FILE = "design.csv"
_LISTED = 5  # combinations in the table


@dataclass(frozen=True)
class DesignTask:
    """Residues to weigh, checked.

    Attributes:
        propagator: the bound peptide.
        missing: tokens of the residues.
        numbers: of the residues, as in the PDB file.
        known: atoms whose coordinates are given.
        x: frames, nm, shape (frames, atoms, 3).
        seed: decides everything.
    """

    propagator: Propagator
    missing: list[int]
    numbers: tuple[int, ...]
    known: Ints
    x: Floats
    seed: int

    def run(self, folder: Path, report: Report) -> tuple[dict[str, Any], Section]:
        """Weigh, write design.csv, and return entries of the summary and a section of the page.

        Args:
            folder: of the run.
            report: called with (stage, done, total).
        """
        from latentmd.model.peptide_file import load_peptides
        from latentmd.molecule.chain import chain
        from latentmd.molecule.known_torsions import known_torsions

        topology, own = self.propagator.molecule()
        hand = self.propagator.module.hand.numpy()
        peptide = chain(topology, own * hand)
        found = design(
            load_peptides(_origin(self.propagator)), peptide, self.missing, known_torsions(peptide, self.known),
            self.x * hand, seed=self.seed, report=report,
        )  # fmt: skip
        write_text(folder / FILE, _rows(found, self.numbers))
        likely = {str(n): found.types[int(p.argmax())] for n, p in zip(self.numbers, found.probability, strict=True)}
        return {"design": likely}, self._section(found)

    def _section(self, found: Design) -> Section:
        rows = [("-".join(pair), f"{p:.1%}") for pair, p in found.pairs[:_LISTED]]
        text = (
            "Probability of each residue type, given the dynamics of the other residues, all types equally likely "
            f"before; {FILE} has the numbers. Right as far as the model is, and as the frames are independent."
        )
        caption = "Dashed: before anything was looked at."
        image = _picture(found, self.numbers)
        return Section(
            "Which residues these might be", text, table(("residues", "probability"), rows), [(image, caption)]
        )


def check_design(propagator: Propagator, hidden: Bools) -> None:
    """Refuse residues that cannot be weighed, before anything is read.

    Args:
        propagator: the model.
        hidden: whether each residue is to be weighed, shape (residues,).

    Raises:
        ValueError: a model that knows one molecule only, or residues that cannot be weighed.
    """
    from latentmd.molecule.chain import chain

    _origin(propagator)
    Gap(chain(*propagator.molecule()), np.flatnonzero(hidden).tolist())


def _origin(propagator: Propagator) -> str:
    """Name of the model of many peptides that a model is bound from.

    Raises:
        ValueError: there is none at hand.
    """
    from latentmd.model.peptide_file import NAME, peptides_sha256

    origin, name = propagator.manifest.zero_shot, propagator.manifest.name
    if origin is None:
        raise ValueError(
            f"--design needs a model that knows other residues; {name} knows one molecule. Bind the model of many "
            "peptides to yours, `latentmd bind PDB --out my.pt`, and give --model my.pt"
        )
    if origin.model != NAME or origin.sha256 != peptides_sha256():
        raise ValueError(
            f"{name} was bound from {origin.model}, which is not the bundled model of many peptides of this version; "
            "bind yours again, `latentmd bind PDB --out my.pt`"
        )
    return NAME


def _rows(found: Design, numbers: tuple[int, ...]) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("residue", "type", "probability"))
    for number, share in zip(numbers, found.probability, strict=True):
        writer.writerows((number, name, f"{p:.6f}") for name, p in zip(found.types, share, strict=True))
    return out.getvalue()


def _picture(found: Design, numbers: tuple[int, ...]) -> bytes:
    made, axes = figures.figure(len(numbers), 1, width=7.0, height=1.8)
    for axis, number, share in zip(axes, numbers, found.probability, strict=True):
        axis.bar(found.types, share, color=figures.GENERATED)
        axis.axhline(1 / len(found.types), ls="--", lw=0.8, color=figures.REFERENCE)
        axis.set(ylabel=f"residue {number}", ylim=(0, 1))
        axis.tick_params(axis="x", labelsize=7, rotation=60)
    return figures.png(made)
