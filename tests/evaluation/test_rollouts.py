"""Rollouts of a surrogate as the evaluation makes them: whole frames of one walker and of all of them."""

from __future__ import annotations

import numpy as np
import pytest

from latentmd.analysis.features import feature_spec
from latentmd.evaluation import rollouts as model
from latentmd.molecule.checks import structure_template


def test_sampled_frames_come_from_every_walker(ou_bundle, alanine, alanine_topology):
    from latentmd.model.propagator import Propagator

    propagator = Propagator(ou_bundle, "cpu")
    start = np.repeat(np.asarray(alanine.positions._value)[None], 4, axis=0)
    spec, template = feature_spec(alanine_topology), structure_template(alanine_topology, start[:1])
    rng, seen = np.random.Generator(np.random.Philox(2)), []
    made = model.generate(
        propagator=propagator,
        starts=start,
        lag=10.0,
        steps=230,
        spec=spec,
        template=template,
        rng=rng,
        tick=lambda done, total: seen.append((done, total)),
    )
    assert [len(run) for run in made.runs] == [230] * 4 and made.totals.frames == 920
    assert made.kept.shape == (230, 22, 3) and len(made.sampled) == 4 * 230
    kept = spec.values(made.kept)
    np.testing.assert_allclose(np.cos(kept), np.cos(made.runs[0]), atol=1e-3)
    angles = np.stack(made.runs, axis=1).reshape(-1, len(spec.names))
    np.testing.assert_allclose(np.cos(spec.values(made.sampled)), np.cos(angles), atol=1e-3)
    assert seen[0] == (0, 460) and seen[-1] == (459, 460) and seen == sorted(seen)
    again = model.generate(
        propagator,
        start,
        lag=10.0,
        steps=230,
        spec=spec,
        template=template,
        rng=np.random.Generator(np.random.Philox(2)),
    )
    assert made.runs[3] == pytest.approx(again.runs[3])
