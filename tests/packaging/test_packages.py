"""What is in the wheel, what imports what, and what importing costs."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys
import tomllib
from collections.abc import Iterable
from pathlib import Path

import networkx
import pytest

ROOT = Path(__file__).parents[2]
FOLDERS = {
    "latentmd": ROOT / "latentmd",
    "latentmd.integrators": ROOT / "integrators",
    "latentmd.systems": ROOT / "systems",
}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def _modules() -> dict[str, Path]:
    """Every module of the source tree that is part of the package."""
    found = {}
    for package, folder in FOLDERS.items():
        for path in sorted(folder.rglob("*.py")):
            parts = path.relative_to(folder).with_suffix("").parts
            if parts[0] == "molecules":
                continue  # the script that builds the bundled peptides
            found[".".join([package, *(part for part in parts if part != "__init__")])] = path
    return found


MODULES = _modules()


def test_the_package_list_is_the_tree() -> None:
    tree = sorted(name for name, path in MODULES.items() if path.name == "__init__.py")
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == tree


def test_every_data_file_is_packaged() -> None:
    patterns = PROJECT["tool"]["setuptools"]["package-data"]
    for package, folder in FOLDERS.items():
        for path in folder.rglob("*"):
            if not path.is_file() or path.suffix in {".py", ".pyc", ".so"} or "__pycache__" in path.parts:
                continue
            home, inside = package, path.relative_to(folder)
            while f"{home}.{inside.parts[0]}" in MODULES and len(inside.parts) > 1:
                home, inside = f"{home}.{inside.parts[0]}", Path(*inside.parts[1:])
            assert any(inside.match(pattern) for pattern in patterns.get(home, [])), (
                f"{path.relative_to(ROOT)} is left out"
            )


def test_entry_points_exist() -> None:
    scripts = PROJECT["project"]["scripts"]
    for target in scripts.values():
        module, attribute = target.split(":")
        assert callable(getattr(importlib.import_module(module), attribute))
    for target in PROJECT["project"]["entry-points"]["openmmml.potentials"].values():
        module, attribute = target.split(":")
        assert f"class {attribute}(" in MODULES[module].read_text()


@pytest.mark.parametrize("name", MODULES)
def test_modules_say_what_they_are_for(name: str) -> None:
    tree = ast.parse(MODULES[name].read_text())
    assert ast.get_docstring(tree), f"{name} has no docstring"
    public = [
        node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_")
    ]
    missing = [node.name for node in public if not ast.get_docstring(node)]
    assert not missing, f"{name}: no docstring on {', '.join(missing)}"


# Ground first. A room imports from its own floor or from below, wherever in a file the import stands.
FLOORS = [
    {"units", "arrays", "interpreter", "core", "molecule", "encoders"},
    {"io", "analysis"},
    {"decoders", "heads"},
    {"model", "testing"},
    {"systems", "integrators", "replicas"},
    {"report"},
    {"evaluation"},
    {"sampling.run"},
    {"sampling", "training"},
    {"sampling.metropolis", "sampling.paths", "sampling.walkers"},
    {"sampling.jumps", "sampling.scan"},
    {"sampling.sample"},
    {"worlds"},
    {"cli"},
    {"__main__"},
]


def _room(module: str) -> str:
    """The folder (or file) of the house that a module belongs to; "" for `latentmd` itself."""
    parts = module.split(".")[1:]
    named = ".".join(parts[:2])
    return named if any(named in floor for floor in FLOORS) else (parts[0] if parts else "")


def _floor(module: str) -> int:
    return next((level for level, rooms in enumerate(FLOORS) if _room(module) in rooms), -1)


def _imports(path: Path) -> set[str]:
    """Every module that a file imports: at the top, inside functions, and for type checkers only."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            named = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (named & set(MODULES)) or {node.module}
    return found


INTERNAL = {name: {other for other in _imports(path) if other in MODULES} for name, path in MODULES.items()}


@pytest.mark.parametrize("name", [name for name in MODULES if "." in name])
def test_imports_go_down(name: str) -> None:
    level = _floor(name)
    assert level >= 0, f"{name} is on no floor; add it to FLOORS"
    upward = [other for other in INTERNAL[name] if other != "latentmd" and _floor(other) > level]
    assert not upward, f"{name} imports {', '.join(sorted(upward))}, which is above it"


def _circles(arrows: Iterable[tuple[str, str]]) -> list[list[str]]:
    graph = networkx.DiGraph((start, end) for start, end in arrows if start != end)
    return [sorted(group) for group in networkx.strongly_connected_components(graph) if len(group) > 1]


def test_no_circle_of_files() -> None:
    assert not _circles((name, other) for name, others in INTERNAL.items() for other in others if other != "latentmd")


def test_no_circle_of_folders() -> None:
    arrows = [(_room(name), _room(other)) for name, others in INTERNAL.items() for other in others]
    assert not _circles((start, end) for start, end in arrows if start and end)


@pytest.mark.parametrize("name", [name for name in MODULES if name.startswith("latentmd.core")])
def test_the_core_knows_torch_only(name: str) -> None:
    foreign = {other.split(".")[0] for other in _imports(MODULES[name]) if not other.startswith("latentmd.core")} - set(
        sys.stdlib_module_names
    )
    assert foreign <= {"torch", "numpy"}, f"{name} imports {foreign}"


def test_torchscript_stays_in_the_bundle() -> None:
    calls = ("torch.jit.script(", "torch.jit.load(", "torch.jit.save(", "torch.jit.trace(", "torch.jit.freeze(")
    users = {name for name, path in MODULES.items() if any(call in path.read_text() for call in calls)}
    assert users == {"latentmd.model.file"}


HEAVY = (
    "openmm",
    "ase",
    "mdtraj",
    "matplotlib",
    "torch",
    "lightning",
    "deeptime",
    "scipy",
    "pdbfixer",
)


def _loaded(code: str) -> set[str]:
    script = f"import sys\n{code}\nprint(*{{name.split('.')[0] for name in sys.modules}})"
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, cwd="/")
    return set(run.stdout.splitlines()[-1].split())


def test_import_loads_nothing_heavy() -> None:
    assert not _loaded("import latentmd") & set(HEAVY)
    assert not _loaded("import latentmd.integrators, latentmd.systems") & set(HEAVY)


def test_help_loads_nothing_heavy() -> None:
    code = "from latentmd.cli.main import main\nmain(['--help'], standalone_mode=False)"
    assert not _loaded(code) & set(HEAVY)


def test_simulate_leaves_training_packages_alone() -> None:
    loaded = _loaded(
        "import latentmd.sampling.walkers.simulate, latentmd.model.propagator, latentmd.integrators.openmm_integrator"
    )
    assert not loaded & {"lightning", "deeptime", "sklearn"}
