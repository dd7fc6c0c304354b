"""Toy worlds with known answers: data, training and evaluation of the same core without molecules."""
