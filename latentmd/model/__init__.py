"""Trained models: the scripted surrogate, its file, and the propagator that engines call."""
