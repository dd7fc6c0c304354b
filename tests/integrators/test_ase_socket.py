"""The calculator behind ASE's socket: what the other end gets is what the calculator gives."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.io import read

from latentmd.integrators import LatentCalculator

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"


def test_energy_and_forces_through_a_unix_socket() -> None:
    name = f"latentmd-test-{os.getpid()}"
    calculator = LatentCalculator("alanine-dipeptide", device="cpu")

    def serve() -> None:
        atoms = read(ALANINE)
        atoms.calc = calculator
        SocketClient(unixsocket=name).run(atoms, use_stress=False)

    here, there = read(ALANINE), read(ALANINE)
    rng = np.random.default_rng(0)
    with SocketIOCalculator(unixsocket=name) as remote:
        client = threading.Thread(target=serve)
        client.start()
        there.calc = remote
        for _ in range(3):
            there.positions += 0.02 * rng.standard_normal(there.positions.shape)
            energy, forces = there.get_potential_energy(), there.get_forces()
            here.positions = there.positions
            here.calc = LatentCalculator(calculator.propagator)
            assert np.isclose(energy, here.get_potential_energy(), rtol=0, atol=1e-6)
            assert np.allclose(forces, here.get_forces(), rtol=0, atol=1e-5)
    client.join(timeout=10)
    assert not client.is_alive()
