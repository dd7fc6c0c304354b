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


def _in_checkout(code: str) -> subprocess.CompletedProcess[str]:
    """Run code as `python -c` does in the root of the checkout: that folder comes first on the search path."""
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)


def test_the_root_of_a_checkout_is_no_trap() -> None:
    code = "import latentmd; from latentmd import build; import latentmd.integrators; print(latentmd.__file__)"
    done = _in_checkout(code + "; print(build('systems/molecules/alanine_dipeptide.pdb').topology.getNumAtoms())")
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(ROOT / "latentmd" / "__init__.py"), "22"]


def test_a_checkout_takes_the_kernel_of_an_installed_copy_of_the_same_source() -> None:
    from latentmd.replicas.library import library

    found = _in_checkout("from latentmd.replicas.library import library; print(library() is not None)").stdout.split()
    assert found == [str(library() is not None)]


def test_an_editable_installation_maps_both_folders_that_lie_beside_the_package(tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"]
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns(".git", "tests", "docs", "build", "*.so")
    shutil.copytree(ROOT, source, ignore=ignore)
    pytest.importorskip("setuptools", reason="an editable installation needs setuptools")
    environment = {**os.environ, "CC": "none", "CXX": "none", "PYTHONWARNINGS": "ignore"}  # without the kernel: quick
    done = subprocess.run(
        [*pip, "--target", tmp_path / "site", "-e", source], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # The finder of an editable installation comes last by itself, after a copy that is installed beside the libraries.
    code = f"""import site, sys
sys.path += {sys.path!r}
site.addsitedir({str(tmp_path / "site")!r})
sys.meta_path.insert(0, sys.meta_path.pop())
from latentmd import build
import inspect; print(inspect.getfile(build))"""
    done = subprocess.run([sys.executable, "-P", "-S", "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == str(source / "systems" / "builder.py"), done.stderr
