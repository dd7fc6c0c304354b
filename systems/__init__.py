"""Molecules: from a file to an OpenMM System, bundled peptides and models."""
