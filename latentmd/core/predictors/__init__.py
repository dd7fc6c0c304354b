"""Latent predictors: one per file, all with `step(z, lag, noise)` and a `noise_size`."""

from latentmd.core.predictors.flow import ConditionalFlow as ConditionalFlow
from latentmd.core.predictors.flow import FlowPredictor as FlowPredictor
from latentmd.core.predictors.mixture import MixturePredictor as MixturePredictor
from latentmd.core.predictors.residual import ResidualPredictor as ResidualPredictor
