"""One frame of every run: options, wall time, preparation, processes and Dask, seeds, and how a run ends."""
