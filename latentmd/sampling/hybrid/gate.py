"""Trust gate: whether a structure that the surrogate proposed may start a simulation.

The gate guards time, not truth: a bad start that slips through costs a burst, and no start can bias the statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree

from latentmd.arrays import Bools, Floats
from latentmd.sampling.contracts import Burst, Engine, Explorer
from latentmd.sampling.hybrid.tasks import PLAN, keyed_rng

ACCEPTED = ""
UNFAMILIAR = ("distance", "disagreement", "energy")  # verdicts that are no failed check of the structure itself
NEIGHBOURS = 5  # nearest latents whose mean distance is compared
LEVEL = 0.99  # share of real frames that the distance and disagreement limits let through
_BANK = 10_000  # most frames in the bank
_CALIBRATION = 2_000  # most frames that the distance limit is learned from
_ENSEMBLE_BURSTS = 50  # most bursts that the limit of the disagreement is learned from
_ENERGY_QUANTILES = (0.001, 0.999)  # of the energies of real frames


def conformal_quantile(scores: Floats, level: float) -> float:
    """Limit under which a new score of the same distribution stays with probability `level` or more.

    The ceil((n + 1) level)-th smallest of n scores (split conformal prediction; Vovk et al. 2005); infinite where n is
    too small to say.

    Example:
        >>> conformal_quantile(np.arange(1.0, 100.0), 0.99)
        99.0
    """
    rank = int(np.ceil((len(scores) + 1) * level))
    return float(np.sort(scores)[rank - 1]) if rank <= len(scores) else float("inf")


@dataclass(frozen=True)
class Gate:
    """Limits learned from real frames.

    Attributes:
        bank: k-d tree of scaled latents of real frames.
        mean, scale: of the latents, shape (k,).
        distance: largest mean distance to the five nearest latents of the bank.
        disagreement: largest disagreement of the ensemble; None where there is no ensemble.
        energies: lowest and highest potential energy in kJ/mol.
    """

    bank: cKDTree
    mean: Floats
    scale: Floats
    distance: float
    disagreement: float | None
    energies: tuple[float, float]

    def distances(self, latents: Floats) -> Floats:
        """Mean distance (n,) of latents (n, k) to their five nearest in the bank; infinite where not finite."""
        finite = np.isfinite(latents).all(axis=1)
        result = np.full(len(latents), np.inf)
        scaled = (latents[finite] - self.mean) / self.scale
        near = self.bank.query(scaled, k=min(NEIGHBOURS, self.bank.n))[0]
        result[finite] = near.reshape(len(scaled), -1).mean(axis=1)
        return result

    def screen(self, latents: Floats, disagreement: Floats | None, checks: Mapping[str, Bools]) -> list[str]:
        """Reason to reject each proposal before any simulation, or `ACCEPTED`.

        Args:
            latents: of the decoded structures, encoded again, (n, k).
            disagreement: of the ensemble, (n,).
            checks: named structure checks, true (n,) where passed.

        Returns:
            "distance", "disagreement", the name of the first check failed, or `ACCEPTED`.
        """
        reasons = np.full(len(latents), ACCEPTED, dtype=object)
        for name, passed in reversed(list(checks.items())):
            reasons[~passed] = name
        if self.disagreement is not None and disagreement is not None:
            reasons[~(disagreement <= self.disagreement)] = "disagreement"
        reasons[~(self.distances(latents) <= self.distance)] = "distance"
        return [str(reason) for reason in reasons]

    def energy(self, energy: float) -> str:
        """ "energy" where the energy of a relaxed structure in kJ/mol is outside the range, else `ACCEPTED`."""
        return ACCEPTED if self.energies[0] <= energy <= self.energies[1] else "energy"


def calibrate(
    latents: Sequence[Floats],
    disagreement: Callable[[Floats], Floats | None],
    energies: Sequence[Floats],
    rng: np.random.Generator,
) -> Gate:
    """Gate from bursts; every fifth burst calibrates the limits and stays out of the bank.

    Splitting by burst keeps a frame from being judged by its own neighbours in time.

    Args:
        latents: (frames, k) per burst.
        disagreement: of latents (frames, k), shape (frames,); None without an ensemble.
        energies: kJ/mol, (frames,) per burst.
        rng: random generator of the subsampling.

    Raises:
        ValueError: fewer than two bursts, or no finite latent.
    """
    if len(latents) < 2:
        raise ValueError(f"the trust gate needs at least two bursts to learn its limits from, got {len(latents)}")
    order = rng.permutation(len(latents))
    held = set(order[: max(1, len(order) // 5)].tolist())
    train = np.concatenate([latents[i] for i in order if i not in held])
    test = np.concatenate([latents[i] for i in order if i in held])
    train = train[np.isfinite(train).all(axis=1)]
    if not len(train):
        raise ValueError("no latent of the real frames is finite; the surrogate is broken and cannot be used")
    mean, spread = train.mean(axis=0), train.std(axis=0)
    scale = np.where(spread > 0, spread, 1.0)
    bank = cKDTree((train[rng.permutation(len(train))[:_BANK]] - mean) / scale)
    low, high = np.quantile(np.concatenate(list(energies)), _ENERGY_QUANTILES)
    gate = Gate(bank, mean, scale, distance=float("inf"), disagreement=None, energies=(float(low), float(high)))
    ensemble: list[Floats] = []
    for i in sorted(held)[:_ENSEMBLE_BURSTS]:
        values = disagreement(latents[i])
        if values is None:
            break
        ensemble.append(values)
    spread_limit = conformal_quantile(np.concatenate(ensemble), LEVEL) if ensemble else None
    sample = test[rng.permutation(len(test))[:_CALIBRATION]]
    limit = conformal_quantile(gate.distances(sample), LEVEL)
    return replace(gate, distance=limit, disagreement=spread_limit)


def gate_of_bursts(explorer: Explorer, bursts: Sequence[Burst], seed: int) -> Gate:
    """Calibrate the trust gate on the bursts of round 0.

    Args:
        explorer: the surrogate.
        bursts: at least two.
        seed: of the run.
    """
    latents = [explorer.features(burst.positions) for burst in bursts]
    rng = keyed_rng(seed, 0, PLAN, 2)
    return calibrate(latents, explorer.disagreement, [burst.energies for burst in bursts], rng)


def screen_structures(engine: Engine, explorer: Explorer, structures: Floats, gate: Gate | None) -> list[str]:
    """Verdict on each structure before any simulation: of the gate, or only that coordinates are finite.

    Args:
        engine: checks the structures.
        explorer: the surrogate.
        structures: positions (n, ...).
        gate: None to look at coordinates only.

    Returns:
        `ACCEPTED`, or the reason to reject it.
    """
    if gate is None:
        finite = np.asarray(np.isfinite(structures.reshape(len(structures), -1)).all(axis=1))
        return [ACCEPTED if passed else "not finite" for passed in finite]
    latents = explorer.features(structures)
    return gate.screen(latents, explorer.disagreement(latents), engine.checks(structures))
