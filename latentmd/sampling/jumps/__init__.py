"""MD in explicit water with a bias on slow torsions, or with exact jumps of them."""
