"""Requests: frames of a path, what to do with an earlier run, and limits of the energy where the model has them."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from latentmd.io.folder import OutputError
from latentmd.sampling.paths.request import Subject


@pytest.mark.parametrize(("time", "interval", "frames"), [(100.0, 10.0, 10), (0.3, 0.1, 3), (20.0, 20.0, 1)])
def test_frames_follow_from_the_times(path_plan: Any, time: float, interval: float, frames: int) -> None:
    assert dataclasses.replace(path_plan.request, time=time, interval=interval).frames == frames


def test_one_policy_at_a_time(path_plan: Any) -> None:
    assert path_plan.request.policy == "new"
    assert dataclasses.replace(path_plan.request, resume=True).policy == "resume"
    with pytest.raises(OutputError, match="exclude each other"):
        _ = dataclasses.replace(path_plan.request, resume=True, overwrite=True).policy


def test_limits_of_the_energy_are_the_median_and_the_upper_quantile(path_plan: Any) -> None:
    subject: Subject = path_plan.subject
    median, upper = subject.limits or (0.0, 0.0)
    assert median < upper and (median, upper) == tuple(subject.manifest.reference.energy_quantiles[1:3])
    reference = subject.manifest.reference.model_copy(update={"energy_quantiles": None})
    manifest = subject.manifest.model_copy(update={"reference": reference})
    model = dataclasses.replace(subject.model, manifest=manifest)
    assert dataclasses.replace(subject, model=model).limits is None
