"""Walkers of MD, latent rollouts, and latent steps alternating with MD."""
