"""Keys of the noise of latent steps in OpenMM: they follow the replica, whose State may come and go in one Context."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from weakref import WeakKeyDictionary

import openmm

from latentmd.arrays import Doubles
from latentmd.core.noise import fingerprint

Key = tuple[int, int, int]  # seed, stream, step of CounterNoise

_REMEMBERED = 2**14  # steps; a replica that comes back after more of them is not recognised
_GOLDEN = 0x9E3779B97F4A7C15
_OWN = "latentmd_"  # of our Context parameters


class Visits:
    """How often a Context made one and the same latent step, each time with other random numbers of OpenMM's.

    OpenMM's random numbers are restored by checkpoints and not by States. So a step made again with the same random
    number is a repetition from a checkpoint, and one made with another number belongs to another replica, or to a
    State that was loaded again: it is a new visit.
    """

    def __init__(self) -> None:
        self._words: OrderedDict[Key, list[float]] = OrderedDict()

    def number(self, key: Key, word: float) -> int:
        """Number of the visit, from 0; `word` is OpenMM's random number of the step."""
        words = self._words.get(key, [])
        return words.index(word) if word in words else len(words)

    def add(self, key: Key, word: float) -> None:
        """Remember a step that was made."""
        words = self._words.setdefault(key, [])
        if word not in words:
            words.append(word)
        if len(self._words) > _REMEMBERED:
            self._words.popitem(last=False)


_visits: WeakKeyDictionary[openmm.Integrator, Visits] = WeakKeyDictionary()
_current = threading.local()


@contextmanager
def remembered(integrator: openmm.Integrator) -> Iterator[None]:
    """Make the visits of an integrator's Context known to the steps that this thread makes."""
    _current.visits = _visits.setdefault(integrator, Visits())
    try:
        yield
    finally:
        del _current.visits


def visits(otherwise: Visits) -> Visits:
    """Those of the integrator that this thread steps; `otherwise` where it was stepped by other code."""
    known: Visits = getattr(_current, "visits", otherwise)
    return known


def step_key(seed: int, stream: int, step: int, positions: Doubles, parameters: Mapping[str, float]) -> Key:
    """The key of a latent step: positions [n, 3] nm and foreign parameters of the Context are mixed into the seed."""
    foreign = sorted((name, value) for name, value in parameters.items() if not name.startswith(_OWN))
    mixed = int.from_bytes(blake2b(repr(foreign).encode(), digest_size=8).digest()) if foreign else 0
    return seed ^ mixed ^ fingerprint(positions - positions[0]), stream, step


def visit_key(key: Key, number: int) -> Key:
    """The key of the noise of a visit."""
    return key[0] ^ (number * _GOLDEN % 2**64), key[1], key[2]
