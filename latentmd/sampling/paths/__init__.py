"""Trajectories with something given: paths between two ends, frames in between, residues left out."""
