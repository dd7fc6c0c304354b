"""A second Python process imports the copy of latentmd that this one does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import latentmd
from latentmd import interpreter


def test_another_process_imports_the_same_copy_wherever_it_is_started(tmp_path: Path) -> None:
    (tmp_path / "latentmd.py").write_text("raise ImportError('the folder that a process is started in')")
    code = interpreter.command("-c", "import latentmd; print(latentmd.__file__)")
    done = subprocess.run(code, cwd=tmp_path, env=interpreter.environment(), capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == (latentmd.__file__, "")


def test_variables_are_added() -> None:
    assert interpreter.environment(OMP_NUM_THREADS="3")["OMP_NUM_THREADS"] == "3"
