"""Random numbers that belong to one purpose of one task of one round, so that a resumed run draws the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from latentmd.core.noise import noise_generator

if TYPE_CHECKING:
    import torch

PLAN, REVIEW = 1, 4  # purposes of random numbers


def keyed_rng(seed: int, round_: int, purpose: int, task: int = 0) -> np.random.Generator:
    """Random generator that belongs to one purpose (of this module) of one task of one round."""
    return noise_generator(seed, stream=task, step=round_, purpose=purpose)


def keyed_seed(seed: int, round_: int, purpose: int, task: int = 0) -> int:
    """Seed below 2^31 that belongs to one purpose of one task of one round."""
    return int(keyed_rng(seed, round_, purpose, task).integers(2**31 - 1))


def numbered_streams(seed: int, number: int) -> tuple[np.random.Generator, torch.Generator, int]:
    """Random generators of NumPy and of torch, and a seed for an engine, that belong to one numbered part of a run."""
    import torch

    key = np.random.SeedSequence([seed, number])
    words = [int(word) for word in key.generate_state(2)]
    return np.random.default_rng(key), torch.Generator().manual_seed(words[0]), words[1]
