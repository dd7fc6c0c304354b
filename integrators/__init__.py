"""Engine adapters: OpenMM and ASE. They convert units and call the propagator; importing this imports no engine."""
