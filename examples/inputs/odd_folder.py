"""Run README's command and every example where users have them: `python examples/inputs/odd_folder.py`.

The folder's name has a space and an umlaut, LC_ALL is C, there is no terminal, and the home folder cannot be made or
written. Prints the seconds that each took, or how it failed; ends with 1 where one did. Arguments choose examples by
parts of their names.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parents[2]


def main() -> int:
    """Run all of them; returns the number that failed, at most 1."""
    failed = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "Ordner für Moleküle"
        shutil.copytree(ROOT / "examples", folder / "examples")
        shutil.copytree(ROOT / "systems" / "molecules", folder / "systems" / "molecules")
        home = folder / "file"
        home.write_text("no folder can be made below a file\n")
        environment = {
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(home / "home"), "LC_ALL": "C", "OMP_NUM_THREADS": "1",
        }  # fmt: skip
        molecule = "systems/molecules/alanine_dipeptide.pdb"
        commands = {"latentmd simulate": [sys.executable, "-m", "latentmd", "simulate", molecule]}
        for path in sorted((folder / "examples").glob("*.py")):
            commands[path.stem] = [sys.executable, str(path)]
        for name, command in commands.items():
            if sys.argv[1:] and not any(part in name for part in sys.argv[1:]):
                continue
            begin = time.perf_counter()
            run = subprocess.run(
                command, cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
            )
            error = run.stderr.decode(errors="replace").strip().splitlines()
            result = f"{time.perf_counter() - begin:.0f} s" if run.returncode == 0 else f"FAILED: {(error or [''])[-1]}"
            failed |= run.returncode != 0
            print(f"{name}: {result}", flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
