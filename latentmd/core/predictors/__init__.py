"""Latent predictors: one per file, all with `step(z, lag, noise)` and a `noise_size`."""

from latentmd.core.predictors.egnn import EGNNPredictor as EGNNPredictor
from latentmd.core.predictors.flow import ConditionalFlow as ConditionalFlow
from latentmd.core.predictors.flow import FlowPredictor as FlowPredictor
from latentmd.core.predictors.hamiltonian import GeneralHamiltonianPredictor as GeneralHamiltonianPredictor
from latentmd.core.predictors.hamiltonian import HamiltonianPredictor as HamiltonianPredictor
from latentmd.core.predictors.langevin import LangevinPredictor as LangevinPredictor
from latentmd.core.predictors.mixture import MixturePredictor as MixturePredictor
from latentmd.core.predictors.mlp import MLPPredictor as MLPPredictor
from latentmd.core.predictors.residual import ResidualPredictor as ResidualPredictor
