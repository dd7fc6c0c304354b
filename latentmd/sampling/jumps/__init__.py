"""MD in explicit water and exact jumps of slow torsions by turns."""
