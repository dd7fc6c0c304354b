"""Encoders: observations to latent tokens."""
