"""What Python finds: parts of a user's own by name, and a second process that finds the same modules as this one."""

from __future__ import annotations

import importlib
import os
import sys
from typing import TypeVar

T = TypeVar("T")


def own_part(name: str, kind: type[T], what: str) -> T:
    """The object called "module:NAME", of a class; ValueError where there is none, which calls it `what`."""
    module, _, attribute = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"cannot load the {what} {name!r}: {error}") from error
    if not isinstance(found, kind):
        raise ValueError(f"{name!r} is no {what}; expected a {kind.__module__}.{kind.__name__}")
    return found


def command(*arguments: str) -> list[str]:
    """Command line of a Python process with the arguments of `python`; with `environment()` it searches for modules
    where this process does and nowhere else, not in the folder that it is started in (`-P`).
    """
    return [sys.executable, "-P", *arguments]


def environment(**variables: str) -> dict[str, str]:
    """Environment of such a process: this one's, with its search path for modules, and `variables`."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(os.path.abspath(folder) for folder in sys.path), **variables}
