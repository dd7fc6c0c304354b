"""One molecule: topology, tokens, fingerprint, geometry, checks of structures. Knows no model and no engine."""
