"""Latent predictors, all with `step(z, lag, noise)` and a `noise_size`."""

from latentmd.core.steps.flow import ConditionalFlow as ConditionalFlow
from latentmd.core.steps.flow import FlowPredictor as FlowPredictor
from latentmd.core.steps.mixture import MixturePredictor as MixturePredictor
from latentmd.core.steps.potential import GeneralHamiltonianPredictor as GeneralHamiltonianPredictor
from latentmd.core.steps.potential import HamiltonianPredictor as HamiltonianPredictor
from latentmd.core.steps.potential import LangevinPredictor as LangevinPredictor
from latentmd.core.steps.residual import EGNNPredictor as EGNNPredictor
from latentmd.core.steps.residual import MLPPredictor as MLPPredictor
from latentmd.core.steps.residual import ResidualPredictor as ResidualPredictor
