"""Surrogate molecular dynamics inside the engines people already use.

Example:
    >>> import latentmd
    >>> "simulate" in dir(latentmd)
    True
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from latentmd.evaluation.benchmark import benchmark as benchmark
    from latentmd.evaluation.evaluate import evaluate as evaluate
    from latentmd.evaluation.latents import latents as latents
    from latentmd.integrators import LatentCalculator as LatentCalculator
    from latentmd.integrators import LatentDynamics as LatentDynamics
    from latentmd.integrators import LatentIntegrator as LatentIntegrator
    from latentmd.model.file import BundleError as BundleError
    from latentmd.model.propagator import Propagator as Propagator
    from latentmd.sampling.models import bind_file as bind_file
    from latentmd.sampling.paths.inpaint import inpaint as inpaint
    from latentmd.sampling.paths.run import paths as paths
    from latentmd.sampling.paths.upsample import upsample as upsample
    from latentmd.sampling.sample import load as load
    from latentmd.sampling.sample import simulate as simulate
    from latentmd.sampling.sample import simulate_data_set as simulate_data_set
    from latentmd.sampling.scan import scan as scan
    from latentmd.sampling.scores import evaluate_data_set as evaluate_data_set
    from latentmd.sampling.walkers.data_set import md_data_set as md_data_set
    from latentmd.sampling.walkers.md import md as md
    from latentmd.systems.builder import build as build
    from latentmd.training.paths import train_paths as train_paths
    from latentmd.training.paths import train_peptide_paths as train_peptide_paths
    from latentmd.training.peptides.finetune import finetune as finetune
    from latentmd.training.peptides.run import train_peptides as train_peptides
    from latentmd.training.train import train as train
    from latentmd.worlds.run import train_world as train_world

# In a checkout, `integrators` and `systems` lie beside this folder (package-dir in pyproject.toml), not in it.
if not (Path(__file__).parent / "systems").is_dir():
    __path__.append(str(Path(__file__).parents[1]))

#: Name → module, imported when the name is first used.
_HOMES = {
    "BundleError": "latentmd.model.file",
    "LatentCalculator": "latentmd.integrators",
    "LatentDynamics": "latentmd.integrators",
    "LatentIntegrator": "latentmd.integrators",
    "Propagator": "latentmd.model.propagator",
    "benchmark": "latentmd.evaluation.benchmark",
    "bind_file": "latentmd.sampling.models",
    "build": "latentmd.systems.builder",
    "evaluate": "latentmd.evaluation.evaluate",
    "evaluate_data_set": "latentmd.sampling.scores",
    "finetune": "latentmd.training.peptides.finetune",
    "inpaint": "latentmd.sampling.paths.inpaint",
    "latents": "latentmd.evaluation.latents",
    "load": "latentmd.sampling.sample",
    "md": "latentmd.sampling.walkers.md",
    "md_data_set": "latentmd.sampling.walkers.data_set",
    "paths": "latentmd.sampling.paths.run",
    "scan": "latentmd.sampling.scan",
    "simulate": "latentmd.sampling.sample",
    "simulate_data_set": "latentmd.sampling.sample",
    "train": "latentmd.training.train",
    "train_paths": "latentmd.training.paths",
    "train_peptide_paths": "latentmd.training.paths",
    "train_peptides": "latentmd.training.peptides.run",
    "train_world": "latentmd.worlds.run",
    "upsample": "latentmd.sampling.paths.upsample",
}

__all__ = [*_HOMES]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("latentmd")
    if name not in _HOMES:
        raise AttributeError(f"module 'latentmd' has no attribute {name!r}; expected one of {', '.join(__all__)}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
