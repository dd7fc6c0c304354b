"""What energies and forces cost in ASE: one structure, and a thousand in one call, by turns on one core."""

import time
from pathlib import Path

import numpy as np
import torch
from ase.io import read

from latentmd.integrators import LatentCalculator

torch.set_num_threads(1)
atoms = read(Path(__file__).parents[1] / "systems" / "molecules" / "alanine_dipeptide.pdb")
calculator = LatentCalculator("alanine-dipeptide", device="cpu")
atoms.calc = calculator
rng = np.random.default_rng(0)

many = [atoms.copy() for _ in range(1000)]
for structure in many:
    structure.positions += 0.02 * rng.standard_normal((len(atoms), 3))


def single() -> None:
    """A structure that ASE has not seen, so that nothing is cached."""
    atoms.positions += 1e-4 * rng.standard_normal((len(atoms), 3))
    atoms.get_forces()


def batch() -> None:
    calculator.compute_batch(many)


for _ in range(3):  # the first passes of a scripted model compile it
    single()
    batch()

# CPU time, which other work on the machine lengthens less than wall time.
single_times, batch_times = [], []
for _ in range(5):
    for _ in range(20):
        start = time.process_time()
        single()
        single_times.append(time.process_time() - start)
    start = time.process_time()
    batch()
    batch_times.append((time.process_time() - start) / len(many))

one, each = np.median(single_times), np.median(batch_times)
print(f"single point, energy and forces of {len(atoms)} atoms: {1e3 * one:.2f} ms")
print(f"batch of {len(many)}: {1e6 * each:.0f} µs a structure, {one / each:.0f} times faster")
