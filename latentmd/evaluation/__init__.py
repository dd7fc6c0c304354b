"""Metrics of trajectories and latents as documented functions of arrays, and what they are compared with."""
