"""File of a model of many peptides: weights, local geometry and statistics of the training set, with a manifest.

A zip archive of torch tensors, sealed like a bundle: JSON manifest inside, SHA-256 of everything before it at the end.
"""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from latentmd.model.file import BundleError, read_sealed, read_sha256, sealed_format, write_sealed
from latentmd.model.manifest import Seal
from latentmd.molecule.chemistry import Topology
from latentmd.molecule.coverage import PeptideChemistry
from latentmd.molecule.matching import Answer

if TYPE_CHECKING:
    from torch import Tensor

    from latentmd.model.peptides import PeptideModel

FORMAT: Literal["latentmd-peptides-1"] = "latentmd-peptides-1"
NAME = "peptides"  # of the bundled model


class PeptideManifest(Seal):
    """What a model of many peptides is and where it holds; ps, K, amu, sequences as `Chain.sequence` writes them."""

    format: Literal["latentmd-peptides-1"] = FORMAT
    name: str = NAME
    coverage: PeptideChemistry
    lag: tuple[float, float]
    frame_interval: float = Field(gt=0)
    temperature: float = Field(gt=0)
    friction: float
    timestep: float = Field(gt=0)
    hydrogen_mass: float
    solvent: str
    force_field: list[str]
    sequences: list[str] = Field(default_factory=list)
    held_out: list[str] = Field(default_factory=list)
    training: dict[str, Any] = Field(default_factory=dict)
    metrics: dict[str, Any] = Field(default_factory=dict)

    def covers(self, topology: Topology) -> Answer:
        """Answer whether the model covers a molecule, its conditions and handedness aside."""
        return self.coverage.covers(topology)


@dataclass(frozen=True)
class PeptideFile:
    """A loaded file: the model in evaluation mode, on the CPU, its manifest, hash and path.

    `statistics` of the training set, where there: "table_counts" and "planes"; "tokens" and "kinds" for `zero_shot`.
    """

    model: PeptideModel
    manifest: PeptideManifest
    statistics: dict[str, Tensor]
    sha256: str
    path: Path


def find_peptides(name_or_path: str | Path = NAME) -> Path:
    """Path of a model of peptides given by path, or of the bundled one by its name."""
    path = Path(name_or_path)
    if str(name_or_path) == NAME and not path.is_file():
        return Path(str(files("latentmd.model").joinpath("peptides.pt")))
    return path


def _existing(name_or_path: str | Path) -> Path:
    path = find_peptides(name_or_path)
    if not path.is_file():
        raise BundleError(
            f"{name_or_path}: no such model of many peptides; expected the path of one, or {NAME}, which is bundled"
        )
    return path


def is_peptides(name_or_path: str | Path) -> bool:
    """Whether a name or an existing file is that of a model of many peptides."""
    path = find_peptides(name_or_path)
    return path.is_file() and sealed_format(path) == FORMAT


def peptides_sha256(name_or_path: str | Path = NAME) -> str:
    """The hash of the file, after it is checked. Does not import torch."""
    return read_sealed(_existing(name_or_path), PeptideManifest)[2]


def model_sha256(name_or_path: str | Path) -> str:
    """The hash of a model's file, of one molecule or of many peptides, after it is checked. Does not import torch."""
    return peptides_sha256(name_or_path) if is_peptides(name_or_path) else read_sha256(name_or_path)


def read_peptide_manifest(name_or_path: str | Path = NAME) -> PeptideManifest:
    """The manifest, after the file's hash is checked. Does not import torch."""
    return read_sealed(_existing(name_or_path), PeptideManifest)[1]


def save_peptides(
    path: Path, model: PeptideModel, manifest: PeptideManifest, statistics: dict[str, Tensor]
) -> PeptideManifest:
    """Write a model, its weights and its table of local geometry in half precision; returns the filled-in manifest."""
    import torch

    exact = ("basis.mean", "basis.matrix", "step.grid", "step.waves")
    weights = {k: _half(v, keep=k in exact) for k, v in model.state_dict().items()}
    table = {key: {k: _half(v) for k, v in row.items()} for key, row in model.table.items()}
    buffer = io.BytesIO()
    torch.save({"config": asdict(model.config), "weights": weights, "table": table, "statistics": statistics}, buffer)
    return write_sealed(path, buffer, manifest)


def _half(values: Tensor, keep: bool = False) -> Tensor:
    values = values.detach().cpu()
    return values if keep or not values.is_floating_point() else values.half()


def load_peptides(name_or_path: str | Path = NAME) -> PeptideFile:
    """Read a model of many peptides; hashes are checked and only tensors are unpickled. Errors are BundleError."""
    import torch

    from latentmd.model.peptides import PeptideConfig, PeptideModel

    path = _existing(name_or_path)
    data, manifest, sha256 = read_sealed(path, PeptideManifest)
    stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    model = PeptideModel(PeptideConfig(**{**stored["config"], "lags": tuple(stored["config"]["lags"])}))
    model.load_state_dict(stored["weights"])
    for key, row in stored["table"].items():
        model.table[key] = {k: v.float() if v.is_floating_point() else v for k, v in row.items()}
    return PeptideFile(model.eval(), manifest, stored["statistics"], sha256, path.resolve())
