"""Exact Metropolis chains of small molecules."""
