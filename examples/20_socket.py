"""A model behind a socket: i-PI, or any code that speaks its protocol, asks for forces; here ASE does both ends.

The server drives (i-PI, or ASE as here), the client computes. To serve a running i-PI or LAMMPS's fix ipi server, keep
the client's half only, with the socket's name, or host and port, from the other program's input.
"""

import threading
from pathlib import Path

import numpy as np
from ase import units
from ase.calculators.socketio import SocketClient, SocketIOCalculator
from ase.io import read
from ase.md.langevin import Langevin

from latentmd.integrators import LatentCalculator

pdb = Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb"
SOCKET = "latentmd-example"  # a Unix socket, /tmp/ipi_latentmd-example, as i-PI names it


def serve_forces() -> None:
    """The client's half: connect, then answer every structure with energy, forces and virial."""
    atoms = read(pdb)
    atoms.calc = LatentCalculator("alanine-dipeptide", device="cpu")
    SocketClient(unixsocket=SOCKET).run(atoms, use_stress=False)


atoms = read(pdb)
with SocketIOCalculator(unixsocket=SOCKET) as remote:
    client = threading.Thread(target=serve_forces)
    client.start()
    atoms.calc = remote
    energy = atoms.get_potential_energy()
    forces = atoms.get_forces()
    dynamics = Langevin(
        atoms, 0.5 * units.fs, temperature_K=350, friction=0.01 / units.fs, fixcm=False, rng=np.random.default_rng(1)
    )
    dynamics.run(20)
    print(f"after {dynamics.nsteps} steps: {atoms.get_potential_energy():.3f} eV")
client.join()

atoms = read(pdb)
atoms.calc = LatentCalculator("alanine-dipeptide", device="cpu")
print(f"energy through the socket {energy:.6f} eV, without {atoms.get_potential_energy():.6f} eV")
print(f"largest difference of a force {np.abs(forces - atoms.get_forces()).max():.1e} eV/Å")
