"""Sampling: walkers, hybrid sampling and Metropolis chains in a folder each, and what they share."""
