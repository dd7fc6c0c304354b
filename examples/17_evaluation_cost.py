"""What does evaluating a protein cost? A polyalanine in motion: `python 17_evaluation_cost.py [RESIDUES FRAMES]`.

The goal is 300 residues and 10,000 frames in five minutes, streamed: try `python 17_evaluation_cost.py 300 10000`.
"""

import resource
import sys
import time
from pathlib import Path

import numpy as np
from mdtraj.formats import XTCTrajectoryFile
from openmm.app import PDBFile

from latentmd.analysis.features import load_topology
from latentmd.evaluation.evaluate import evaluate
from latentmd.evaluation.inputs import EvaluationSettings
from latentmd.systems.builder import build
from latentmd.systems.peptide import backbone, pdb_block

RESIDUES, FRAMES = (int(x) for x in sys.argv[1:3]) if len(sys.argv) > 2 else (20, 500)
RUNS, KEPT = 5, np.exp(-1 / 20)  # correlation of the noise from one frame to the next

Path("heavy.pdb").write_text(pdb_block(backbone(["ACE", *["ALA"] * RESIDUES, "NME"])))
molecule = build("heavy.pdb")
with open("protein.pdb", "w") as stream:
    PDBFile.writeFile(molecule.topology, molecule.positions, stream)
topology, positions = load_topology(Path("protein.pdb"))


def write(path: str, frames: int, seed: int) -> str:
    """A run whose atoms move about their places by 0.005 nm, remembering 20 frames."""
    rng = np.random.default_rng(seed)
    shift = rng.standard_normal(positions[0].shape).astype(np.float32)
    with XTCTrajectoryFile(path, "w") as out:
        for frame in range(frames):
            out.write((positions[0] + 0.005 * shift).astype(np.float32)[None], time=np.float32([frame]))
            shift = KEPT * shift + np.sqrt(1 - KEPT**2) * rng.standard_normal(shift.shape, dtype=np.float32)
    return path


sets = [[write(f"{name}-{i}.xtc", FRAMES // RUNS, 10 * k + i) for i in range(RUNS)] for k, name in enumerate("ab")]
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
start = time.perf_counter()
result = evaluate(
    sets[0], sets[1], "protein.pdb", out="evaluation", settings=EvaluationSettings(lag=10.0), overwrite=True
)
seconds, memory = time.perf_counter() - start, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
torsions = len(result.reference.runs[0][0])
print(f"{RESIDUES} residues, {topology.n_atoms} atoms, {torsions} torsions, {FRAMES} frames against {FRAMES}:")
print(f"{seconds:.0f} s, peak memory {memory:.2f} GiB ({before:.2f} GiB before)")
