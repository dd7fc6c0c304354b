"""The residue table as a baseline: histograms in the order of the features, D residues by their mirror image."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest

from latentmd.analysis.features import EvaluationError, feature_spec
from latentmd.evaluation.residue_table import ResidueTable
from latentmd.evaluation.table_baseline import TableBaseline, covers
from latentmd.model.peptide_file import load_peptides
from latentmd.molecule.chain import SLOTS, chain
from latentmd.systems.bundled import bundled


def _load(name: str) -> mdtraj.Trajectory:
    return mdtraj.load(str(bundled(name)))


def test_frames_follow_the_histograms_of_their_residues() -> None:
    frame = _load("met_enkephalin")
    spec = feature_spec(frame.topology)
    (run,) = TableBaseline.of(spec, frame.topology, frame.xyz[0]).frames(50_000, np.random.default_rng(0))
    assert run.shape == (50_000, len(spec.names)) and np.abs(run).max() <= np.pi
    found, table = chain(frame.topology, frame.xyz[0]), ResidueTable.of(load_peptides().statistics)
    kind, place, _ = found.types[3]
    expected = table.torsions[kind, place, SLOTS.index("chi1")]
    counts = np.histogram(run[:, spec.names.index("chi1 PHE4")], len(expected), (-np.pi, np.pi))[0]
    np.testing.assert_allclose(counts / counts.sum(), expected / expected.sum(), atol=0.01)
    assert abs(np.corrcoef(np.sin(run[:, :2]).T)[0, 1]) < 0.03  # blind to neighbours


def test_a_mirror_image_has_mirrored_torsions() -> None:
    frame = _load("valine_dipeptide")
    spec = feature_spec(frame.topology)
    left = TableBaseline.of(spec, frame.topology, frame.xyz[0]).histograms
    right = TableBaseline.of(spec, frame.topology, frame.xyz[0] * [1.0, 1.0, -1.0]).histograms
    np.testing.assert_array_equal(right, left[:, ::-1])


def test_other_molecules_have_no_table() -> None:
    frame = _load("chignolin")
    spec = feature_spec(frame.topology)
    assert not covers(spec, frame.topology, frame.xyz[0])
    with pytest.raises(EvaluationError, match="baseline residue-table is not for this molecule"):
        TableBaseline.of(spec, frame.topology, frame.xyz[0])
