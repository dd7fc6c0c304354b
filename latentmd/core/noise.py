"""Counter-based noise: the same (seed, stream, step, purpose) gives the same numbers, with no state to store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray

Key = tuple[int, int, int]  # seed, stream, step of CounterNoise

_WORD = 2**64 - 1
_GOLDEN = 0x9E3779B97F4A7C15
_GRID = 2.0**16  # of `fingerprint`


def child_seed(*key: int) -> int:
    """Seed below 2^31 of a part of a run: a walker, a molecule, a task. Neighbouring keys give unrelated seeds."""
    return int(np.random.SeedSequence(key).generate_state(1)[0] & 0x7FFFFFFF)


def engine_seed(*key: int) -> int:
    """Seed of a part of a run for OpenMM, which takes 0 for "draw one" and nothing above 2^31 - 2."""
    return int(np.random.SeedSequence(key).generate_state(1)[0]) % (2**31 - 2) + 1


def noise_generator(seed: int, stream: int = 0, step: int = 0, purpose: int = 0) -> np.random.Generator:
    """An independent random stream for each combination of arguments (Philox 4x64, Salmon et al., SC 2011), so that a
    run resumed at a step draws what the uninterrupted run drew. The key is (seed, stream: walker); step and purpose
    (positions, velocities, ...) sit in the upper words of the counter.

    Example:
        >>> bool(noise_generator(7, step=3).random() == noise_generator(7, step=3).random())
        True
    """
    return np.random.Generator(_philox(seed, stream, step, purpose))


def _philox(seed: int, stream: int, step: int, purpose: int) -> np.random.Philox:
    key = np.array([seed & _WORD, stream & _WORD], dtype=np.uint64)
    return np.random.Philox(key=key, counter=np.array([0, 0, purpose & _WORD, step & _WORD], dtype=np.uint64))


def fingerprint(values: NDArray[np.float64]) -> int:
    """A 64-bit number of an array, the same for values that round to the same multiples of 2^-16: their sum, modulo
    2^64, times fixed random odd numbers (a universal hash; Dietzfelbinger et al. 1997).
    """
    words = np.floor(values.ravel() * _GRID + 0.5).astype(np.int64).view(np.uint64)
    return int((words * fingerprint_factors(len(words))).sum(dtype=np.uint64))


@cache
def fingerprint_factors(count: int) -> NDArray[np.uint64]:
    """The odd numbers of `fingerprint`, shape [count]."""
    return np.asarray(np.random.Philox(key=0).random_raw(count) | np.uint64(1), dtype=np.uint64)


def step_key(seed: int, stream: int, step: int, positions: NDArray[np.float64], parameters: Mapping[str, float]) -> Key:
    """The key of a latent step: positions [n, 3] nm and foreign parameters of the Context are mixed into the seed."""
    foreign = sorted((name, value) for name, value in parameters.items() if not name.startswith("latentmd_"))
    mixed = int.from_bytes(blake2b(repr(foreign).encode(), digest_size=8).digest()) if foreign else 0
    return seed ^ mixed ^ fingerprint(positions - positions[0]), stream, step


def visit_key(key: Key, number: int) -> Key:
    """The key of the noise of a visit."""
    return key[0] ^ (number * _GOLDEN % 2**64), key[1], key[2]


class CounterNoise:
    """Box–Muller normals of Philox words, the numbers of `philox_normals` in latentmd.integrators.torchforce_module."""

    def __init__(self, seed: int, stream: int = 0, step: int = 0, purpose: int = 0) -> None:
        self._words = _philox(seed, stream, step, purpose)

    def standard_normal(self, size: tuple[int, ...], dtype: type[np.floating[Any]] = np.float64) -> NDArray[Any]:
        """Normal numbers of a shape; each call takes a whole number of blocks of four."""
        count = math.prod(size)
        words = self._words.random_raw(4 * ((count + 3) // 4))
        uniform = (words >> np.uint64(11)) * 2.0**-53 + 2.0**-54
        radius = np.sqrt(-2.0 * np.log(uniform[0::2]))
        angle = 2.0 * np.pi * uniform[1::2]
        normals = np.empty((len(angle), 2))
        np.multiply(radius, np.cos(angle), out=normals[:, 0])
        np.multiply(radius, np.sin(angle), out=normals[:, 1])
        return normals.reshape(-1)[:count].reshape(size).astype(dtype, copy=False)
