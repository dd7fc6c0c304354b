"""Estimates and metrics as pure functions of arrays."""
