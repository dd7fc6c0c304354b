"""The CUDA kernel compiled as C++, a device whose threads take turns; and two molecules."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from latentmd.replicas.cuda import source


def compiler() -> str | None:
    """The machine's C++ compiler, if it has one."""
    return next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)


def build(folder: Path) -> ctypes.CDLL:
    """Compile the kernel into a shared library."""
    text, target = folder / "dynamics.cpp", folder / "dynamics.so"
    text.write_text(source())
    command = [str(compiler()), "-O2", "-std=c++17", "-shared", "-fPIC", str(text), "-o", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return ctypes.CDLL(str(target))


class EmulatedDevice:
    """Runs the blocks one after the other; `reverse` lets the last thread go first."""

    def __init__(self, library: ctypes.CDLL, reverse: bool = False) -> None:
        self._library = library
        self._reverse = reverse

    def put(self, array: Any) -> Any:
        return np.array(array, order="C")

    def get(self, array: Any) -> Any:
        return array.copy()

    def launch(self, blocks: int, threads: int, shared: int, arguments: tuple[Any, ...]) -> None:
        memory = np.full(shared // 4 + 4, np.nan, np.float32)
        start = (-memory.ctypes.data % 16) // 4
        last = [np.int32(blocks), np.int32(threads), np.int32(self._reverse), memory[start:]]
        self._library.emulate(*(_argument(value) for value in (*arguments, *last)))


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    kinds = {
        np.dtype(np.int32): ctypes.c_int,
        np.dtype(np.int64): ctypes.c_longlong,
        np.dtype(np.float32): ctypes.c_float,
    }
    return kinds[value.dtype](value.item())


@pytest.fixture(scope="session")
def emulated(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., EmulatedDevice]:
    """Makes emulated devices, `reverse` for the other order of threads."""
    if compiler() is None:
        pytest.skip("no C++ compiler; expected one to run the CUDA kernel on the CPU")
    library = build(tmp_path_factory.mktemp("kernel"))
    return lambda reverse=False: EmulatedDevice(library, reverse)


@pytest.fixture(scope="session")
def peptides() -> list[Any]:
    """Two bundled molecules, of 22 and of 75 atoms, parametrised."""
    from latentmd.systems.builder import build as parametrise

    molecules = []
    for name in ("alanine_dipeptide.pdb", "met_enkephalin.pdb"):
        with as_file(files("latentmd.systems").joinpath("molecules", name)) as path:
            molecules.append(parametrise(path))
    return molecules
