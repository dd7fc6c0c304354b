"""Toy worlds with known answers: what finds errors in the core that a molecule would hide. Start at `world.world`."""
