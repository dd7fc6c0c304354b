"""Evaluations of runs and models against reference MD: baselines, metrics, pages, and benchmarks of speed."""
