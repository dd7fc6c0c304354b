"""Models of whole latent trajectories: everything that is known is given, everything else is drawn."""
