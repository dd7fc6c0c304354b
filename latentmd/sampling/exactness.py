"""The exactness ladder: what frames made with a surrogate can be trusted for, and what each rung costs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True)
class Rung:
    """One level of the ladder.

    Attributes:
        guarantees: what holds whatever the surrogate is.
        remains: what bias or error is left.
        costs: beyond drawing from the surrogate.
    """

    guarantees: str
    remains: str
    costs: str


class Exactness(Enum):
    """Levels from fast to exact; each guarantees what the ones before it do, in its own way.

    Example:
        >>> Exactness.REWEIGHTED.value.costs
        'MD bursts: by far most of the time'
    """

    RAW = Rung(
        guarantees="complete structures with the surrogate's own distribution",
        remains="all of the surrogate's bias: populations, kinetics and energies are its opinion",
        costs="nothing",
    )
    RELAXED = Rung(
        guarantees="structures at a physical energy: minimised, then moved by MD",
        remains="populations and kinetics are still the surrogate's",
        costs="a minimisation and a short MD for each structure",
    )
    GATED = Rung(
        guarantees="structures that look like those of MD in latent distance, ensemble, geometry and energy",
        remains="populations and kinetics are still the surrogate's, within the region that MD has seen",
        costs="relaxation, and proposals thrown away",
    )
    REWEIGHTED = Rung(
        guarantees="equilibrium weights and kinetics from unbiased MD bursts; the surrogate only chose their starts",
        remains="discretisation into cells and memory of the starts, estimated by doubling lag and relaxation time and "
        "part of every standard error; a basin that nobody named and nothing reached is missing unnoticed",
        costs="MD bursts: by far most of the time",
    )
    METROPOLISED = Rung(
        guarantees="the exact Boltzmann distribution of a small system, by acceptance in full coordinates",
        remains="statistical error, and basins without kernels that no chain reached, which nothing shows; no "
        "kinetics. A deterministic decoder has no density in x, so that latent densities cannot judge: the proposal's "
        "own density in full coordinates does",
        costs="an energy (and a gradient) per step; acceptance falls fast with the number of atoms, 30 to 40 at most",
    )

    @classmethod
    def named(cls, name: str) -> Exactness:
        """The level of a name such as "reweighted".

        Raises:
            ValueError: there is none of that name.
        """
        try:
            return cls[name.upper()]
        except KeyError:
            known = ", ".join(level.name.lower() for level in cls)
            raise ValueError(f"exactness is {name!r}; expected one of {known}") from None
