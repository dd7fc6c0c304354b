"""Judge the frames of a run by plain MD of the same molecule: contacts, energies, torsions.

    latentmd md my.pdb --time 2ns --walkers 32 --save-every 2ps --temperature 350 --out md
    latentmd simulate my.pdb --out run
    latentmd simulate my.pdb --settle off --out raw
    python examples/peptides/frames.py md run raw

Contacts are distances of atoms more than three bonds apart; MD's least is over all its frames. The range of energies is
MD's 0.1 to 99.9 %, from its own frames.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import mdtraj
import numpy as np

from latentmd.analysis.features import torsion_spec
from latentmd.analysis.statistics import js_distance
from latentmd.io.provenance import read_provenance
from latentmd.molecule.bonds import separations
from latentmd.molecule.checks import check_frames, structure_template, topology_arrays

BLOCK, BINS = 500, 100


def load(folder: Path) -> tuple[mdtraj.Trajectory, dict[str, np.ndarray]]:
    """All frames of a run, and the columns of its provenance.csv in the same order."""
    files = sorted(folder.glob("walker-*.xtc"))
    frames = mdtraj.join([mdtraj.load(str(file), top=str(folder / "topology.pdb")) for file in files])
    return frames, read_provenance(folder / "provenance.csv")


def least_contacts(frames: mdtraj.Trajectory) -> np.ndarray:
    """Least distance in nm between atoms more than three bonds apart in each frame, shape (frames,)."""
    symbols, bonds = topology_arrays(frames.topology)
    first, second = np.nonzero(np.triu(separations(len(symbols), bonds, 4) == 4, 1))
    blocks = [frames.xyz[begin : begin + BLOCK] for begin in range(0, len(frames), BLOCK)]
    return np.concatenate([np.linalg.norm(x[:, first] - x[:, second], axis=2).min(axis=1) for x in blocks])


def torsion_distance(frames: mdtraj.Trajectory, reference: mdtraj.Trajectory) -> float:
    """Jensen–Shannon distance of torsions in sqrt(nats), mean over them."""
    spec = torsion_spec(reference.topology)
    counts = [
        [np.histogram(column, BINS, (-np.pi, np.pi))[0].astype(float) for column in spec.values(x.xyz).T]
        for x in (frames, reference)
    ]
    return float(np.mean([js_distance(a, b) for a, b in zip(*counts, strict=True)]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("reference", type=Path, help="folder of `latentmd md`")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of `latentmd simulate`")
    arguments = parser.parse_args()
    md, rows = load(arguments.reference)
    low, median, high = np.quantile(rows["potential_energy"], [0.001, 0.5, 0.999])
    least = float(least_contacts(md).min())
    print(f"MD: {len(md):,} frames, least contact {least:.3f} nm, energies {low:.1f}, {median:.1f}, {high:.1f} kJ/mol")
    template = structure_template(md.topology, mdtraj.load(str(arguments.reference / "topology.pdb")).xyz)
    for folder in arguments.runs:
        frames, rows = load(folder)
        kinds, energies, contacts = rows["kind"], rows["potential_energy"], least_contacts(frames)
        for kind in ["all", *np.unique(kinds)]:
            part = np.ones(len(kinds), bool) if kind == "all" else kinds == kind
            failed = [
                name for name, ok in check_frames(frames.xyz[part].astype(float), template).items() if not ok.all()
            ]
            print(
                f"{folder} {kind}: {part.sum():,} frames, nearer than MD {np.sum(contacts[part] < least)} (least "
                f"{contacts[part].min():.3f}), above {100 * np.mean(~(energies[part] <= high)):.2f} %, "
                f"below {100 * np.mean(energies[part] < low):.2f} %, "
                f"median {np.median(energies[part]) - median:+.1f} kJ/mol, "
                f"torsions {torsion_distance(frames[part], md):.3f}, checks failed: {', '.join(failed) or 'none'}"
            )


if __name__ == "__main__":
    main()
