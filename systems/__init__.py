"""Molecules: from a PDB file to an OpenMM System, bundled peptides and models."""
