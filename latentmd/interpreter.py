"""A second Python process that finds the same modules as this one."""

from __future__ import annotations

import os
import sys


def command(*arguments: str) -> list[str]:
    """Command line of a Python process with the arguments of `python`; with `environment()` it searches for modules
    where this process does and nowhere else, not in the folder that it is started in (`-P`).
    """
    return [sys.executable, "-P", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """Environment of such a process: this one's, with its search path for modules, and `variables`."""
    path = os.pathsep.join(os.path.abspath(folder) for folder in sys.path)
    return {**os.environ, "PYTHONPATH": path, **variables}
