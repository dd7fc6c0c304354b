"""Heads: energies from positions and from latents."""
