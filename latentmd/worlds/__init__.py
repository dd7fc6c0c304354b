"""The same core on toy worlds with known answers: data, training and evaluation, without molecules."""
