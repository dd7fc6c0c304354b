"""Populations and equal frames of a biased run, from the weights of its frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from latentmd.analysis.statistics import effective_samples
from latentmd.arrays import Doubles, Floats, Ints
from latentmd.sampling.metropolis.plain_md import independent
from latentmd.sampling.metropolis.populations import Populations, populations
from latentmd.sampling.metropolis.wells import Well


def equal_frames(weights: Doubles) -> Ints:
    """Indices of frames drawn by their weights at even steps, (sum w)^2 / sum w^2 of them; all of equal weights."""
    count = max(1, round(weights.sum() ** 2 / (weights**2).sum()))
    places = (np.arange(count) + 0.5) / count
    found = np.searchsorted(np.cumsum(weights) / weights.sum(), places)
    return np.asarray(np.minimum(found, len(weights) - 1))


def weighted_populations(angles: Floats, cuts: Sequence[Well], weights: Doubles) -> Populations:
    """Populations in one run, torsions (frames, torsions), with weights (frames,) of a mean of 1.

    The population p = mean(w I) of a well has the variance of z = w (I - p) over the independent samples of z. So many
    frames without weights as would have that variance are its effective samples, or fewer: passages bound them.
    """
    runs, found = angles[None], populations(angles[None], cuts)
    values, effective = found.values.copy(), found.effective.copy()
    for i, well in enumerate(cuts):
        inside = well.inside(angles)
        share = values[i] = float(np.clip((weights * inside).mean(), 0.0, 1.0))
        if 0 < share < 1:
            z = weights * (inside - share)
            known = share * (1 - share) * effective_samples([z]) / float(np.mean(z**2))
            effective[i] = independent(runs, well, share, known)
    errors = np.sqrt(values * (1 - values) / np.maximum(effective, 1.0))
    return replace(found, values=values, effective=effective, errors=errors)
