"""Levels of exactness: what each guarantees of frames made with a surrogate, and what it costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["raw", "relaxed", "gated", "reweighted", "metropolised"]


@dataclass(frozen=True)
class Exactness:
    """Promise of one level.

    Attributes:
        guarantees: holds whatever the surrogate is.
        remains: bias or error that is left.
        costs: beyond drawing from the surrogate.
    """

    guarantees: str
    remains: str
    costs: str


#: From fast to exact; each level guarantees what the ones before it do, in its own way.
LEVELS: dict[Level, Exactness] = {
    "raw": Exactness(
        guarantees="complete structures with the surrogate's own distribution",
        remains="all of the surrogate's bias: populations, kinetics and energies are its opinion",
        costs="nothing",
    ),
    "relaxed": Exactness(
        guarantees="structures at a physical energy: minimised, then moved by MD",
        remains="populations and kinetics are still the surrogate's",
        costs="a minimisation and a short MD for each structure",
    ),
    "gated": Exactness(
        guarantees="structures that look like those of MD in latent distance, ensemble, geometry and energy",
        remains="populations and kinetics are still the surrogate's, within the region that MD has seen",
        costs="relaxation, and proposals thrown away",
    ),
    "reweighted": Exactness(
        guarantees="equilibrium weights and kinetics from unbiased MD bursts; the surrogate only chose their starts",
        remains="discretisation into cells and memory of the starts, estimated by doubling lag and relaxation time and "
        "part of every standard error; a basin that nobody named and nothing reached is missing unnoticed",
        costs="MD bursts: by far most of the time",
    ),
    "metropolised": Exactness(
        guarantees="the exact Boltzmann distribution of up to 150 atoms, by acceptance in full coordinates",
        remains="statistical error, and basins that no chain reached, which nothing shows; rates come from bursts. A "
        "deterministic decoder has no density in x, so that latent densities cannot judge: the proposal's own density "
        "in full coordinates does",
        costs="energies of a ladder of temperatures; acceptance falls with the number of atoms",
    ),
}


def promise(level: str) -> Exactness:
    """The promise of a level such as "reweighted".

    Raises:
        ValueError: there is no level of that name.

    Example:
        >>> promise("reweighted").costs
        'MD bursts: by far most of the time'
    """
    for name, found in LEVELS.items():
        if name == level:
            return found
    raise ValueError(f"--exactness is {level!r}; expected one of {', '.join(LEVELS)}")
