"""Hybrid sampling: a surrogate says where to go, short unbiased simulations supply every number."""
