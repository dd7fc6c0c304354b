"""The residue table as a baseline: torsions drawn from histograms of their residues, blind to neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from latentmd.analysis.features import EvaluationError, FeatureSpec
from latentmd.arrays import Floats
from latentmd.evaluation.residue_table import BINS, ResidueTable

TABLE = "residue-table"


@dataclass(frozen=True)
class TableBaseline:
    """Histograms of a peptide's torsions, from the training peptides of the bundled model of many.

    Attributes:
        histograms: counts of each torsion, shape (torsions, bins).
    """

    histograms: Floats

    @classmethod
    def of(cls, spec: FeatureSpec, topology: Any, positions: Floats) -> TableBaseline:
        """Look the torsions of a molecule up.

        Args:
            spec: the torsions.
            topology: of mdtraj or OpenMM.
            positions: one structure, which tells L residues from D ones, nm, shape (atoms, 3).

        Raises:
            EvaluationError: not a peptide that the table covers.
        """
        from latentmd.model.binding import bound_peptide
        from latentmd.model.file import BundleError

        try:
            bound, chain, file = bound_peptide(topology, positions)
        except (BundleError, KeyError) as error:
            raise EvaluationError(f"baseline {TABLE} is not for this molecule: {error}") from error
        table, sign = ResidueTable.of(file.statistics), float(bound.hand[2])
        places = {
            tuple(chain.quads[token, slot].tolist()): (int(token), int(slot))
            for token, slot in zip(*np.nonzero(chain.mask), strict=True)
        }
        found = []
        for name, quad in zip(spec.names, spec.indices.tolist(), strict=True):
            place = places.get(tuple(quad)) or places.get(tuple(quad[::-1]))
            if place is None:
                raise EvaluationError(f"baseline {TABLE} is not for this molecule: the table has no {name}")
            kind, position, mirrored = chain.types[place[0]]
            counts = table.torsions[kind, position, place[1]]
            found.append(counts[::-1] if (sign < 0) != bool(mirrored) else counts)
        return cls(np.array(found))

    def frames(self, count: int, rng: np.random.Generator) -> list[Floats]:
        """Frames whose torsions are drawn each by itself, as one run (frames, torsions) in radians.

        Args:
            count: number of frames.
            rng: random generator.
        """
        columns = [rng.choice(BINS, count, p=row / row.sum()) for row in self.histograms]
        bins = np.stack(columns, axis=1) + rng.random((count, len(columns)))
        return [bins / BINS * 2 * np.pi - np.pi]


def covers(spec: FeatureSpec, topology: Any, positions: Floats) -> bool:
    """Whether there is a table of a molecule.

    Args:
        spec: its torsions.
        topology: of mdtraj or OpenMM.
        positions: one structure, nm, shape (atoms, 3).
    """
    try:
        TableBaseline.of(spec, topology, positions)
    except EvaluationError:
        return False
    return True
