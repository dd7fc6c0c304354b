"""Decoders: latent tokens to full-atom structures."""
