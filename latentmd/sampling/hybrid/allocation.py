"""Choice of the cells whose bursts lower the standard errors of the populations most.

A reversible Markov model is a network of resistors (Doyle and Snell, Random Walks and Electric Networks, 1984). From
n_i observed lags that begin in cell i, ln(pi_i / pi_j) of two neighbours is known with the variance

    r_ij = 1 / (n_i T_ij) + 1 / (n_j T_ji) = (pi_i / n_i + pi_j / n_j) / x_ij,       x_ij = pi_i T_ij,

the relative variances of two counts. All pairs together are least squares on the graph, so that the variance of a
quantity whose derivatives by ln pi are v (sum v = 0) is the power that the currents v dissipate,

    V = sum_(i<j) I_ij^2 r_ij,       I_ij = (u_i - u_j) / r_ij,       L u = v,

with the Laplacian L of the conductances 1 / r_ij. Currents minimise the power, so that to first order it changes with
the resistances alone: -dV / dn_i = pi_i / n_i^2 sum_j I_ij^2 / x_ij is what one more lag from cell i is worth.
Adaptive sampling by the uncertainty of a Markov model is that of Hinrichs and Pande (J. Chem. Phys. 126, 244101, 2007);
theirs is of eigenvalues, of models that need not be reversible.
"""

from __future__ import annotations

import numpy as np

from latentmd.analysis.msm import ReversibleModel
from latentmd.arrays import Floats

_ROUNDING = 1e-12  # of a population


def currents(model: ReversibleModel, lags: Floats, derivatives: Floats) -> tuple[Floats, Floats]:
    """Variances of quantities that depend on the logarithms of populations, and the currents of each.

    Args:
        model: reversible model of the active cells.
        lags: independent lags observed from each of them, positive, shape (active,).
        derivatives: of each quantity by the logarithms of the populations, summing to zero, shape (quantities, active).

    Returns:
        variances: shape (quantities,).
        squares: I_ij^2 of each quantity, shape (quantities, active, active).
    """
    flux = model.fluxes * (1.0 - np.eye(len(model.active)))
    known = model.stationary / lags
    conductance = flux / np.add.outer(known, known)
    laplacian = np.diag(conductance.sum(axis=1)) - conductance
    potential = derivatives @ np.linalg.pinv(laplacian, hermitian=True)
    flows = conductance * (potential[:, :, None] - potential[:, None, :])
    return np.asarray(np.sum(potential * derivatives, axis=1)), flows**2


def variance_reduction(model: ReversibleModel, lags: Floats, shares: Floats, steps: int) -> Floats:
    """How much a burst from each active cell lowers the variances of the states' free energies, all together.

    Args:
        model, lags: as for `currents`.
        shares: share of each active cell's frames that lie in each state, shape (active, states).
        steps: lags in a burst.

    Returns:
        Shape (active,), zero where no state is known on two sides.
    """
    population = model.stationary
    total = population @ shares
    known = (total > _ROUNDING) & (total < 1 - _ROUNDING)
    inside = shares[:, known] / total[known]
    outside = (1 - shares[:, known]) / (1 - total[known])
    derivatives = (population[:, None] * (inside - outside)).T  # of ln(p / (1 - p)) of each state
    if not known.any():
        return np.zeros(len(population))
    _, squares = currents(model, lags, derivatives)
    flux = model.fluxes
    power = np.divide(squares.sum(axis=0), flux, out=np.zeros_like(flux), where=flux > 0).sum(axis=1)
    gain = population / lags**2 * power
    found, visits = np.zeros(len(population)), gain
    for _ in range(steps):  # expected visits of a burst, one lag after another
        found = found + visits
        visits = model.matrix @ visits
    return found
