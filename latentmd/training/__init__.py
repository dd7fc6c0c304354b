"""Training: configuration, the optimisation loop, the stages and the run that joins them."""
