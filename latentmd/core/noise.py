"""Counter-based noise: the same (seed, stream, step, purpose) gives the same numbers, with no state to store."""

from __future__ import annotations

import numpy as np

_WORD = 2**64 - 1


def noise_generator(seed: int, stream: int = 0, step: int = 0, purpose: int = 0) -> np.random.Generator:
    """An independent random stream for each combination of arguments (Philox 4x64, Salmon et al., SC 2011).

    Nothing but the arguments decides the numbers, so that a run resumed at a step draws what the uninterrupted run
    drew. The key is (seed, stream); step and purpose sit in the upper words of the counter, which leaves 2^128 blocks
    for each.

    Args:
        seed: the user's seed.
        stream: replica or walker number.
        step: step count of the engine.
        purpose: what the numbers are for (positions, velocities, ...).

    Example:
        >>> noise_generator(7, step=3).integers(100) == noise_generator(7, step=3).integers(100)
        True
    """
    key = np.array([seed & _WORD, stream & _WORD], dtype=np.uint64)
    counter = np.array([0, 0, purpose & _WORD, step & _WORD], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))
