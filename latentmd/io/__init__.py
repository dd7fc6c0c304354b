"""Files: trajectories in and out, output folders, provenance."""
