"""Training of one model for many peptides."""
