"""Whether --wall holds: `python budgets.py --out FOLDER [FILE ...] [--wall 30s --wall 60s --wall 5min] [--busy 4]`.

Runs `latentmd simulate FILE --wall WALL` one after another, beside processes that only spin, and prints a table:
seconds from start to exit by this script's clock, and what the run left. Without a FILE: the bundled alanine dipeptide,
a tetrapeptide of 60 atoms and a helix of 282 atoms, which gets plain MD.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from latentmd.systems.peptide import backbone, pdb_block

ALANINE = Path(__file__).parents[2] / "systems" / "molecules" / "alanine_dipeptide.pdb"
HELIX = "ACE ALA GLU LEU LYS ALA ARG LEU GLU GLN ALA LYS ALA LEU GLU ASN ALA LEU NME"


def molecules(folder: Path) -> list[Path]:
    """Write two peptides beside the bundled molecule."""
    tetrapeptide, helix = folder / "tetrapeptide.pdb", folder / "helix.pdb"
    tetrapeptide.write_text(pdb_block(backbone("GLY THR LEU MET".split())))
    helix.write_text(pdb_block(backbone(HELIX.split(), phi=-63.0, psi=-42.0)))
    return [ALANINE, tetrapeptide, helix]


def run(source: Path, wall: str, out: Path) -> tuple[float, dict[str, object], str]:
    """Simulate with a wall time; seconds until the process has ended, summary.json, and the files that are there."""
    mode = ["--mode", "chains"] if source == ALANINE else []
    command = [sys.executable, "-m", "latentmd", "simulate", str(source), "--wall", wall, "--out", str(out), *mode]
    begin = time.monotonic()
    with out.with_suffix(".log").open("w") as log:
        subprocess.run([*command, "--overwrite"], stdout=log, stderr=log, check=True)
    seconds = time.monotonic() - begin
    found = sorted(p.name for p in out.iterdir() if p.suffix in (".html", ".png", ".npz") and p.name != "molecule.npz")
    return seconds, json.loads((out / "summary.json").read_text()), ", ".join(found)


def main() -> None:
    """Run every molecule with every wall time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("files", nargs="*", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--wall", action="append")
    parser.add_argument("--busy", type=int, default=4, help="processes that spin beside the runs")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    print(
        "| molecule | `--wall` | seconds | status | frames | files | in words |\n|---|---|---|---|---|---|---|",
        flush=True,
    )
    with ExitStack() as stack:
        for _ in range(given.busy):
            spinning = subprocess.Popen([sys.executable, "-c", "while True: pass"])
            stack.callback(spinning.wait)
            stack.callback(spinning.kill)
        for source in given.files or molecules(given.out):
            for wall in given.wall or ["30s", "60s", "5min"]:
                seconds, summary, files = run(source, wall, given.out / f"{source.stem}-{wall}")
                frames = summary["frames"]
                count = sum(frames) if isinstance(frames, list) else frames
                words = "; ".join(map(str, summary["notes"]))  # type: ignore[call-overload]
                row = (source.stem, wall, f"{seconds:.1f}", summary["status"], count, files, words)
                print("| " + " | ".join(map(str, row)) + " |", flush=True)


if __name__ == "__main__":
    main()
