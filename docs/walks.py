"""Walks through the package: which rooms a value passes on its way, how often it climbs back, and how often it returns.

    python docs/walks.py [NAME ...]      names: simulate, evaluate, train, propose, paths, chains

Each walk runs a small job and watches every call from one file of latentmd to another that hands over the value: the
path of its file, or an array of the molecule's atoms, also inside a container. A call to a room on a higher floor is a
climb; it can only come through an object or a function handed down, since imports go down. A return is a step of a
reader who follows the value, function by function as each first gets it, back to a file that was left before. Floors
are those of `tests/packaging/test_packages.py`.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterable
from dataclasses import fields, is_dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
from folders import floors, home

import latentmd
from latentmd.integrators import LatentIntegrator
from latentmd.systems.bundled import bundled
from latentmd.training.config import parse_config

ATOMS = 22
PDB = bundled("alanine_dipeptide")
FLOORS = {room: number for number, floor in enumerate(floors()) for room in floor}


def room(module: str) -> str:
    """Return the room of a module."""
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if ".".join(parts[:2]) in FLOORS else parts[0] if parts else ""


class Walk:
    """Calls between files that hand over a value.

    Attributes:
        paths: of the value's files.
        arrays: whether arrays of the molecule's atoms are the value too.
        functions: that got the value.
        edges: pairs of modules (caller, callee) between which it was handed over, in order.
        visits: modules of all functions that got it, those called within a file too, by function, in order.
    """

    def __init__(self, paths: Iterable[str | Path] = (), arrays: bool = True) -> None:
        self.paths = {str(path) for path in paths}
        self.arrays = arrays
        self.functions: set[str] = set()
        self.edges: dict[tuple[str, str], None] = {}
        self.visits: dict[str, str] = {}

    def carries(self, value: Any, depth: int = 2) -> bool:
        """Say whether an argument is the value, or holds it."""
        if isinstance(value, str | Path):
            return str(value) in self.paths
        shape = getattr(value, "shape", None)
        if isinstance(shape, tuple):
            return self.arrays and len(shape) >= 2 and tuple(shape[-2:]) == (ATOMS, 3)
        if not depth:
            return False
        if isinstance(value, dict):
            return any(self.carries(item, depth - 1) for item in list(value.values())[:4])
        if isinstance(value, list | tuple):
            return any(self.carries(item, depth - 1) for item in [*value][:4])
        if is_dataclass(value) and not isinstance(value, type):
            return any(self.carries(getattr(value, item.name, None), depth - 1) for item in fields(value))
        return False

    def watch(self, frame: FrameType, event: str, argument: Any) -> None:
        """Note a call; a profile function of Python."""
        if event != "call" or not (callee := frame.f_globals.get("__name__", "")).startswith("latentmd."):
            return
        caller = frame.f_back
        while caller and not caller.f_globals.get("__name__", "").startswith("latentmd."):
            caller = caller.f_back
        source = caller.f_globals["__name__"] if caller else ""
        if not room(callee):
            return
        names = frame.f_code.co_varnames[: frame.f_code.co_argcount + frame.f_code.co_kwonlyargcount + 2]
        if any(self.carries(frame.f_locals[name]) for name in names if name in frame.f_locals):
            name = f"{callee}.{frame.f_code.co_qualname}"
            self.visits.setdefault(name, callee)
            if source != callee:
                self.functions.add(name)
                self.edges.setdefault((source, callee))

    def __call__(self, job: Callable[[], Any]) -> None:
        """Run a job under watch."""
        threading.setprofile(self.watch)
        sys.setprofile(self.watch)
        try:
            job()
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def returns(self) -> list[tuple[str, str]]:
        """Steps of a reader from a file back to one that was left before."""
        files, found, seen = list(self.visits.values()), [], set()
        for before, after in itertools.pairwise(files):
            seen.add(before)
            if after != before and after in seen:
                found.append((before, after))
        return found

    def show(self, name: str) -> None:
        """Print the walk."""
        rooms = list(dict.fromkeys(room(callee) for _, callee in self.edges))
        climbs = [
            (source, callee)
            for source, callee in self.edges
            if room(source) and FLOORS[room(callee)] > FLOORS[room(source)]
        ]
        back = self.returns()
        print(f"{name}: {len(self.functions)} functions, {len(rooms)} rooms, {len(climbs)} climbs, {len(back)} returns")
        print("  " + " → ".join(f"{one} ({FLOORS[one]})" for one in rooms))
        for source, callee in climbs:
            print(f"  climbs: {source} → {callee}")
        for source, callee in back:
            print(f"  returns: {source} → {callee}")


def trajectories(folder: str, seed: int) -> Path:
    """Simulate plain MD and return the folder of its runs."""
    options: dict[str, Any] = {"time": "60ps", "walkers": 4, "save_every": "0.2ps", "processes": 1}
    return latentmd.md(PDB, out=folder, seed=seed, overwrite=True, **options).folder


#: Few updates of small networks.
QUICK = {
    "seed": 0, "stride": 0.2, "holdout": 1, "encoder": {"width": 8, "depth": 1, "vectors": 3},
    "jepa": {"steps": 6, "batch": 8, "lag": [0.2, 5.0]}, "latent": {"lag": 1.0},
    "decoder": {"steps": 6, "batch": 32, "width": 16},
    "fast": {"steps": 6, "batch": 32, "width": 16, "solver_steps": 2},
    "predictor": {"steps": 6, "batch": 32, "width": 16, "solver_steps": 2, "lag": [0.2, 5.0]},
    "energy": {"frames": 100, "steps": 1, "batch": 8, "latent_steps": 1},
}  # fmt: skip


def simulate() -> None:
    """PDB file of `latentmd simulate`."""
    from latentmd.cli.main import main

    walk = Walk([PDB], arrays=False)
    line = ["simulate", str(PDB), "--time", "1ns", "--walkers", "2", "--processes", "1", "--out", "run"]
    walk(lambda: main(line, standalone_mode=False))
    walk.show("pdb of `latentmd simulate`")


def evaluate() -> None:
    """Reference of `latentmd evaluate`."""
    from latentmd.evaluation.inputs import EvaluationSettings

    reference, own = trajectories("reference", 1), trajectories("own", 2)
    settings = EvaluationSettings(lag=1.0)  # ps
    walk = Walk([reference, *reference.glob("*.xtc")])
    walk(lambda: latentmd.evaluate([own], [reference], PDB, out="evaluation", settings=settings))
    walk.show("reference of `latentmd evaluate`")


def train() -> None:
    """Trajectories of `latentmd train`."""
    folder = trajectories("train", 4)
    files = sorted(folder.glob("walker-*.xtc"))
    config = parse_config(QUICK)
    walk = Walk(files)
    walk(lambda: latentmd.train(files, folder / "topology.pdb", "quick.pt", config, name="quick"))
    walk.show("trajectories of `latentmd train`")


def propose() -> None:
    """Positions of a latent step in OpenMM."""
    from openmm import Platform, app, unit

    molecule = latentmd.build(PDB)
    integrator = LatentIntegrator(
        350 * unit.kelvin, "alanine-dipeptide", system=molecule.system, topology=molecule.topology, seed=1
    )
    simulation = app.Simulation(molecule.topology, molecule.system, integrator, Platform.getPlatformByName("Reference"))
    simulation.context.setPositions(molecule.positions)
    walk = Walk()
    walk(lambda: simulation.step(2))
    walk.show("positions of a latent step in OpenMM")


def paths() -> None:
    """PDB file of `latentmd paths`."""
    from latentmd.cli.main import main

    walk = Walk([PDB], arrays=False)
    line = ["paths", str(PDB), "--to", "3", "--time", "200ps", "--count", "4", "--processes", "1", "--out", "drawn"]
    walk(lambda: main(line, standalone_mode=False))
    walk.show("pdb of `latentmd paths`")


def chains() -> None:
    """PDB file of exact chains."""
    walk = Walk([PDB], arrays=False)
    walk(lambda: latentmd.simulate(PDB, mode="chains", wall=5.0, processes=1, out="sampled"))
    walk.show("pdb of `latentmd simulate --mode chains`")


WALKS = {
    "simulate": simulate, "evaluate": evaluate, "train": train, "propose": propose, "paths": paths, "chains": chains,
}  # fmt: skip

if __name__ == "__main__":
    assert all(home(one).exists() for one in FLOORS)
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory() as scratch:
        os.chdir(scratch)
        for name in sys.argv[1:] or WALKS:
            WALKS[name]()
