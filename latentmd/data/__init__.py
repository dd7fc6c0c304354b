"""Trajectories, molecular graphs, tokens and lagged windows."""
