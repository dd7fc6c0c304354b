"""Make the pictures of runs in docs/images again: `python docs/pictures.py [FOLDER]`, some five minutes.

Runs are made in FOLDER (a temporary one where none is named) and stay there. Each command is printed.
"""

from __future__ import annotations

import base64
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
ALANINE = ROOT / "systems" / "molecules" / "alanine_dipeptide.pdb"
#: Name of the picture, what `latentmd` is asked for, and the file that has it.
PICTURES = (
    ("report.png", f"simulate {ALANINE} --out alanine", "alanine/report.png"),
    ("peptide-report.png", "simulate wnie.pdb --out wnie", "wnie/report.png"),
    ("paths.png", "paths --model alanine-dipeptide --from 1 --to 3 --count 100 --out paths", "paths/paths.png"),
    ("chains.png", "simulate wnie.pdb --mode chains --wall 3min --out chains", "chains/free_energy.html"),
)


def peptide(path: Path) -> None:
    """Write Trp-Asn-Ile-Glu, grown from its sequence, as a PDB file."""
    sys.path.insert(0, str(ROOT / "systems" / "molecules"))
    from build import from_sequence

    path.write_text(from_sequence("TRP ASN ILE GLU"), encoding="utf-8")


def first_figure(page: Path) -> bytes:
    """The first picture of a page."""
    found = re.search(r'src="data:image/png;base64,([^"]+)"', page.read_text(encoding="utf-8"))
    if found is None:
        raise SystemExit(f"{page} has no picture")
    return base64.b64decode(found[1])


def main() -> None:
    """Make the runs and copy their pictures."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(tempfile.mkdtemp())
    folder.mkdir(parents=True, exist_ok=True)
    peptide(folder / "wnie.pdb")
    for name, words, file in PICTURES:
        print("latentmd", words, flush=True)
        command = [sys.executable, "-m", "latentmd", *shlex.split(words), "--overwrite"]
        subprocess.run(command, cwd=folder, check=True)
        made = folder / file
        if made.suffix == ".html":
            (IMAGES / name).write_bytes(first_figure(made))
        else:
            shutil.copy(made, IMAGES / name)


if __name__ == "__main__":
    main()
