"""Settings that follow from the data where the user states none."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import mdtraj
import numpy as np
import pytest

from latentmd.training.conditions import suited
from latentmd.training.config import ConfigError, TrainingConfig, parse_config
from latentmd.training.data import Source

MOLECULES = Path(__file__).parents[2] / "systems" / "molecules"


def source(name: str, interval: float, frames: int) -> Source:
    topology = mdtraj.load(str(MOLECULES / f"{name}.pdb")).topology
    runs = [np.zeros((frames, 1, 3), np.float32)] * 3
    return Source(runs, interval, ["a", "b", "c"], topology, "")


@pytest.mark.parametrize(
    ("interval", "frames", "stride", "embedding", "predictor"),
    [
        (0.1, 20_000, 1.0, (1.0, 20.0), (10.0, 200.0)),
        (1.0, 5000, 1.0, (1.0, 20.0), (10.0, 200.0)),
        (0.3, 20_000, 1.2, (1.2, 24.0), (10.8, 216.0)),
        (5.0, 400, 5.0, (5.0, 100.0), (10.0, 200.0)),
        (20.0, 200, 20.0, (20.0, 400.0), (20.0, 400.0)),
        (200.0, 500, 200.0, (200.0, 4000.0), (200.0, 4000.0)),
        (1.0, 200, 1.0, (1.0, 20.0), (10.0, 40.0)),  # a fifth of the longest run
    ],
)
def test_lags_follow_the_spacing_and_the_length(
    interval: float, frames: int, stride: float, embedding: Any, predictor: Any
) -> None:
    found = suited(TrainingConfig(), source("alanine_dipeptide", interval, frames))
    assert found.stride == pytest.approx(stride)
    assert found.jepa.lag == pytest.approx(embedding) and found.predictor.lag == pytest.approx(predictor)
    assert found.encoder == TrainingConfig().encoder and found.latent.lag == pytest.approx(stride)


@pytest.mark.parametrize(
    ("frames", "decoder", "flow", "steps"),
    [(300, 300, 800, 800), (2000, 1172, 1172, 2344), (50_000, 4000, 6000, 6000)],
)
def test_few_frames_are_not_learnt_by_heart(frames: int, decoder: int, flow: int, steps: int) -> None:
    """200 epochs of the decoder, in batches of 1,024; 400 of the flows, in batches of 2,048; of three runs."""
    found = suited(TrainingConfig(), source("alanine_dipeptide", 1.0, frames))
    assert (found.decoder.steps, found.fast.steps, found.predictor.steps) == (decoder, flow, flow)
    stated = suited(parse_config({"decoder": {"steps": 9}}), source("alanine_dipeptide", 1.0, frames))
    assert stated.decoder.steps == 9
    large = suited(TrainingConfig(), source("chignolin", 1.0, frames))  # whose steps move many axes: 800 epochs
    assert (large.fast.steps, large.predictor.steps, large.decoder.width) == (flow, steps, 0)


def test_an_encoder_sees_both_of_two_molecules_and_a_linear_decoder_places_them() -> None:
    one = source("alanine_dipeptide", 1.0, 500)
    both = suited(TrainingConfig(), replace(one, topology=one.topology.join(one.topology)))
    assert (both.encoder.kind, both.encoder.cutoff, both.decoder.width) == ("graph", 1.2, 0)


def test_settings_out_of_range_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match=r"settings: temperature: Input should be greater than 0 \(found -5\)"):
        suited(TrainingConfig().model_copy(update={"temperature": -5}), source("alanine_dipeptide", 1.0, 500))


def test_what_is_stated_stays() -> None:
    stated = parse_config({"stride": 2.0, "jepa": {"lag": [2.0, 6.0]}, "predictor": {"lag": [4.0, 8.0]}})
    found = suited(stated, source("chignolin", 1.0, 5000))
    assert (found.stride, found.jepa.lag, found.predictor.lag) == (2.0, (2.0, 6.0), (4.0, 8.0))
    assert found.encoder.kind == "graph"
    kept = suited(parse_config({"encoder": {"kind": "egnn", "width": 24}}), source("chignolin", 1.0, 5000))
    assert (kept.encoder.kind, kept.encoder.width, kept.encoder.depth) == ("egnn", 24, 2)
