"""Short unbiased MD that starts where a surrogate says, reweighted by a Markov state model."""
