"""Tests mirror the tree: a module of a folder is tested in the file of its name in the same folder under tests."""

from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]
LEAST = 0.95  # share of modules with a test file of their own name
WITHOUT = {"latentmd/arrays.py", "latentmd/__main__.py"}  # aliases of types, the two lines of `python -m latentmd`


def _modules() -> list[str]:
    paths = [path for folder in ("latentmd", "integrators", "systems") for path in (ROOT / folder).rglob("*.py")]
    names = {path.relative_to(ROOT).as_posix() for path in paths if path.name != "__init__.py"}
    return sorted(names - WITHOUT)


def _test_of(module: str) -> Path:
    inside = Path(module.removeprefix("latentmd/"))
    return ROOT / "tests" / inside.with_name(f"test_{inside.name}")


def test_modules_have_a_test_file_of_their_name() -> None:
    modules = _modules()
    missing = [name for name in modules if not _test_of(name).exists()]
    share = 1 - len(missing) / len(modules)
    assert share >= LEAST, f"{share:.1%} have one, expected {LEAST:.0%}; missing for:\n" + "\n".join(missing)
