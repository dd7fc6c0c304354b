"""Models of whole latent trajectories: everything that is known is given, everything else is drawn."""

from latentmd.core.paths.masked import MaskedTrajectory as MaskedTrajectory
from latentmd.core.paths.observed import ObservedPaths as ObservedPaths
from latentmd.core.paths.pinned import PinnedPaths as PinnedPaths
from latentmd.core.paths.steps import FreeSteps as FreeSteps
from latentmd.core.paths.steps import MixtureSteps as MixtureSteps
