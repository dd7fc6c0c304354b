"""Metrics of single frames beside the reference's: structure checks and potential energies."""

from __future__ import annotations

import numpy as np

from latentmd.analysis import thermodynamics
from latentmd.analysis.features import FeatureSet, StructureTotals
from latentmd.analysis.metric import SHARE, Metric
from latentmd.arrays import Floats
from latentmd.molecule.checks import StructureTemplate


def structure_metrics(own: FeatureSet, md: FeatureSet, template: StructureTemplate) -> list[Metric]:
    """Fractions of frames that pass each structure check, and z-scores of bonds and angles, beside the reference's.

    Args:
        own: generated set, with totals of its structure checks.
        md: reference, whose kept frames are checked here.
        template: what a sound structure of the molecule is.
    """
    other = StructureTotals()
    other.add(np.asarray(md.kept, dtype=np.float64), template)
    rows = []
    for name, label in (
        ("bonds", "bond lengths valid"),
        ("angles", "bond angles valid"),
        ("chirality", "stereocentres right"),
        ("isomer", "amides cis or trans as at the start"),
        ("clashes", "no clash"),
    ):
        note = "no stereocentre in this molecule" if name == "chirality" and len(template.centres) == 0 else ""
        values = [t.passed[name] / t.frames for t in (own.totals, other)]
        rows.append(Metric(f"frames, {label}", "structure", values[0], SHARE, values[1], note=note))
    rows.append(
        Metric(
            "frames, all checks", "structure", own.totals.valid / own.totals.frames, SHARE, other.valid / other.frames
        )
    )
    for attribute, label in (("bond_square", "bond z-score, RMS"), ("angle_square", "angle z-score, RMS")):
        values = [float(np.sqrt(getattr(t, attribute) / t.frames)) for t in (own.totals, other)]
        rows.append(Metric(label, "structure", values[0], "", values[1]))
    return rows


def energy_metrics(reference: Floats | None, generated: Floats | None) -> list[Metric]:
    """Generated potential energies (relaxed or moved by an engine) inside MD's range; nothing where unknown.

    Args:
        reference, generated: kJ/mol, shape (frames,), or None.
    """
    if reference is None or generated is None:
        return []
    bounds = thermodynamics.energy_range(reference)
    inside = [thermodynamics.fraction_inside(e, bounds) for e in (generated, reference)]
    note = f"{bounds[0]:.1f} to {bounds[1]:.1f} kJ/mol, from {len(reference)} frames"
    return [
        Metric("frames in MD's 0.1 to 99.9 % of energies", "energy", inside[0], SHARE, inside[1], note=note),
        Metric("mean potential energy", "energy", float(np.mean(generated)), "kJ/mol", float(np.mean(reference))),
    ]
