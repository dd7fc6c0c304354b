"""The compiled kernel built without a compiler (with one, the checks of the wheel do), and what the CI script names."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def _build(folder: Path, compiler: str) -> subprocess.CompletedProcess[str]:
    """Build the extension of a copy of the sources, as an installation does."""
    pytest.importorskip("setuptools", reason="setuptools builds the kernel; installed by pip where it is needed")
    shutil.copy(ROOT / "setup.py", folder)
    shutil.copytree(ROOT / "latentmd" / "replicas" / "kernel", folder / "latentmd" / "replicas" / "kernel")
    command = [sys.executable, "setup.py", "build_ext", "--build-lib", "lib", "--build-temp", "temp"]
    environment = {**os.environ, "CC": compiler, "CXX": compiler, "PYTHONWARNINGS": "ignore"}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def test_an_installation_without_a_compiler_goes_on_without_the_kernel(tmp_path: Path) -> None:
    built = _build(tmp_path, "no-such-compiler")
    assert built.returncode == 0, built.stderr
    assert not list(tmp_path.rglob("*.so"))
    assert "_kernel" in built.stdout + built.stderr  # and says what was left out


def test_every_test_file_that_the_ci_script_names_exists() -> None:
    named = re.findall(r"tests/[\w/]+\.py", (ROOT / ".ci" / "run").read_text())
    assert named and [name for name in named if not (ROOT / name).is_file()] == []
