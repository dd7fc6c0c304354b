"""Small molecules from SMILES to populations: which runs converge within a budget, and what they cost.

    python examples/ligands/converged.py --wall 3min --out ligands.json

Nine molecules of 20 to 68 atoms, rigid and flexible, with carboxyls, a guanidine, rings and amides. Needs
`pip install '.[ligands]'`. Printed and written for each: atoms, whether the run converged, wall time with start-up,
effective samples of the least known state, and conformers found. Another list by --molecules: `name SMILES` a line.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

MOLECULES = {
    "aspirin": "CC(=O)Oc1ccccc1C(=O)O",
    "paracetamol": "CC(=O)Nc1ccc(O)cc1",
    "ibuprofen": "CC(C)Cc1ccc(cc1)[C@@H](C)C(=O)O",
    "metformin": "CN(C)C(=N)NC(=N)N",
    "gabapentin": "NCC1(CC(=O)O)CCCCC1",
    "lidocaine": "CCN(CC)CC(=O)Nc1c(C)cccc1C",
    "captopril": "C[C@H](CS)C(=O)N1CCC[C@H]1C(=O)O",
    "muscone": "C[C@@H]1CCCCCCCCCCCCC(=O)C1",
    "imatinib": "Cc1ccc(NC(=O)c2ccc(CN3CCN(C)CC3)cc2)cc1Nc1nccc(-c2cccnc2)n1",
}


def run(name: str, smiles: str, folder: Path, wall: str) -> dict[str, object]:
    """One molecule by the command line; what its summary says, or the sentence that it ended with."""
    out, begun = folder / name, time.monotonic()
    command = [sys.executable, "-m", "latentmd", "simulate", "--smiles", smiles, "--name", name]
    done = subprocess.run(
        [*command, "--wall", wall, "--out", str(out), "--overwrite"], capture_output=True, text=True, check=False
    )
    seconds = round(time.monotonic() - begun, 1)
    if done.returncode:
        return {"seconds": seconds, "refused": done.stderr.strip().splitlines()[-1:]}
    summary = json.loads((out / "summary.json").read_text())
    sdf = out / "conformers.sdf"
    found = sdf.read_text() if sdf.is_file() else ""
    return {
        "atoms": int(found.splitlines()[3][:3]) if found else None,
        "status": summary["status"],
        "seconds": seconds,
        "effective samples": summary["effective_samples"],
        "conformers": found.count("$$$$"),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wall", default="3min", help="budget of each molecule")
    parser.add_argument("--molecules", type=Path, help="file of names and SMILES")
    parser.add_argument("--out", type=Path, default=Path("ligands.json"))
    given = parser.parse_args()
    chosen = MOLECULES
    if given.molecules:
        chosen = dict(line.split(None, 1) for line in given.molecules.read_text().splitlines() if line.strip())
    results: dict[str, object] = {}
    for name, smiles in chosen.items():
        results[name] = run(name, smiles.strip(), given.out.with_suffix(""), given.wall)
        print(name, results[name], flush=True)
        given.out.write_text(json.dumps(results, indent=1) + "\n")
