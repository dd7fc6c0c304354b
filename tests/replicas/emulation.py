"""The CUDA kernel compiled as C++: a device whose threads take turns."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np

SOURCE = Path(__file__).parents[2] / "latentmd" / "replicas" / "dynamics.cu"


def compiler() -> str | None:
    """The machine's C++ compiler, if it has one."""
    return next((path for name in ("c++", "g++", "clang++") if (path := shutil.which(name))), None)


def build(folder: Path) -> ctypes.CDLL:
    """Compile the kernel into a shared library."""
    target = folder / "dynamics.so"
    command = [str(compiler()), "-O2", "-std=c++17", "-shared", "-fPIC", "-x", "c++", str(SOURCE), "-o", str(target)]
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

    def join(self) -> None:
        """Launches are over when they return."""


def _argument(value: Any) -> Any:
    if isinstance(value, np.ndarray):
        return ctypes.c_void_p(value.ctypes.data)
    kinds = {
        np.dtype(np.int32): ctypes.c_int,
        np.dtype(np.int64): ctypes.c_longlong,
        np.dtype(np.float32): ctypes.c_float,
    }
    return kinds[value.dtype.name](value.item())
