"""Decoders: latent tokens to full-atom structures, states and pictures."""
