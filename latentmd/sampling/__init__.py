"""Sampling: walkers, Metropolis chains and paths in a folder each, and what they share."""
