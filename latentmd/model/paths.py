"""The file of a path model: weights and settings beside the bundle that its latents come from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from latentmd.core.paths.masked import MaskedTrajectory, TrajectorySettings
from latentmd.io.atomic import replacing
from latentmd.model.manifest import Manifest
from latentmd.model.peptide_file import NAME, find_peptides
from latentmd.molecule.chain import PLACES, TYPES

FORMAT = "latentmd-paths-1"


class PathModelError(ValueError):
    """A path-model file that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class PathRecord:
    """What a path model was made from: hash of its bundle's weights, lags and interval in ps, frames of all runs.

    `kinds` are residue types and places of a model of many peptides, which moves torsions; empty for slow axes.
    """

    bundle_sha256: str
    lag: tuple[float, float]
    frame_interval: float
    frames: int
    seed: int
    steps: int
    kinds: tuple[str, ...] = ()


def beside(bundle: Path) -> Path:
    """The path model's file of a bundle: `my.pt` → `my.paths.pt`."""
    return bundle.with_suffix(".paths" + bundle.suffix)


def path_file(bundle: Path, manifest: Manifest) -> tuple[Path, str]:
    """The path model's file of a bundle (that of the bundled peptides if it has none), and what hash it belongs to."""
    own, origin = beside(bundle), manifest.zero_shot
    shared = beside(find_peptides())
    if origin is None or origin.model != NAME or (own.is_file() and own != shared):
        return own, manifest.weights_sha256
    return shared, origin.sha256


def save_path_model(path: Path, model: MaskedTrajectory, record: PathRecord) -> None:
    """Write a path model, whole or not at all."""
    content = {
        "format": FORMAT,
        "settings": {**asdict(model.settings), "lag_range": list(model.lag_range)},
        "record": asdict(record),
        "weights": {name: value.cpu() for name, value in model.state_dict().items()},
    }
    with replacing(path) as temporary:
        torch.save(content, temporary)


def load_path_model(path: Path, bundle_sha256: str) -> tuple[MaskedTrajectory, PathRecord]:
    """Read a path model, and check that it belongs to the bundle of that hash; PathModelError otherwise."""
    if not path.is_file():
        raise PathModelError(
            f"{path} not found: this model has no path model; train one with `latentmd train paths TRAJECTORIES "
            f"--top PDB --model MODEL --out {path}`"
        )
    try:
        content: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
        found = content["format"]
    except Exception as error:
        raise PathModelError(f"{path} is not a path model ({str(error).splitlines()[0]})") from error
    if found != FORMAT:
        raise PathModelError(f"{path} has format {found!r}; this latentmd reads {FORMAT!r}")
    listed = {"lag": tuple(content["record"]["lag"]), "kinds": tuple(content["record"].get("kinds", ()))}
    record = PathRecord(**{**content["record"], **listed})
    if record.bundle_sha256 != bundle_sha256:
        raise PathModelError(f"{path} was trained on the latents of another model; train it again for this one")
    settings = {**content["settings"], "lag_range": tuple(content["settings"]["lag_range"])}
    model = MaskedTrajectory(TrajectorySettings(**settings))
    model.load_state_dict(content["weights"])
    return model.eval(), record


CONTEXT = len(TYPES) + len(PLACES) + 1  # features of a residue, without its torsions


def residue_features(types: Tensor, mask: Tensor) -> Tensor:
    """Type, place, hand and which torsions of each residue, [tokens, CONTEXT + slots]; inputs of a path model."""
    kind, place = (torch.nn.functional.one_hot(types[:, k], size) for k, size in enumerate((len(TYPES), len(PLACES))))
    return torch.cat([kind, place, types[:, 2:3], mask], dim=1).float()


def residue_kinds(types: Tensor) -> list[str]:
    """Types of the residues of a chain, and their places in it, such as ALA and inner; types [tokens, 3]."""
    return sorted({name for kind, place, _ in types.tolist() for name in (TYPES[kind], PLACES[place])})


class PeptideTrajectories:
    """A path model of torsions for one peptide, drawing its tokens; PathModelError for unknown residues."""

    def __init__(self, network: MaskedTrajectory, record: PathRecord, module: Any) -> None:
        types, mask = module.types[0], module.mask[0]
        new = sorted(set(residue_kinds(types)) - set(record.kinds))
        if new:
            raise PathModelError(
                f"the path model of many peptides was not trained on {', '.join(new)}; make one of this peptide with "
                "`latentmd train paths TRAJECTORIES --top PDB --model MODEL --out MODEL.paths.pt`"
            )
        self.network, self.module = network, module
        self.window, self.lag_range = network.window, network.lag_range
        self._features, self._axes = residue_features(types, mask), mask.float().repeat(1, 2)

    def sample(self, known: Tensor, mask: Tensor, times: Tensor, noise: Tensor) -> Tensor:
        """Trajectories with the known tokens as given and the others drawn, as `MaskedTrajectory` does."""
        first = known.shape[-1] - self.network.dim
        context = self._features.expand(len(known), -1, -1)
        drawn = self.network.sample(known[..., first:], mask, times, noise[..., first:] * self._axes, context)
        with torch.no_grad():
            tokens = self.module.from_waves(drawn.flatten(0, 1)).reshape(known.shape)
        return torch.where(mask.unsqueeze(-1), known, tokens)


PathSampler = MaskedTrajectory | PeptideTrajectories  # draws what a mask does not say is known of trajectories
