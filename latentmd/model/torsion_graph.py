"""Torsions of any molecule: drawn one after another, given its force field, a temperature and those drawn before.

The molecule is a graph with messages along bonds and between atoms three bonds apart (1-4 pairs). A pair about a bond
whose torsion is known carries its dihedral angle; the others carry only what the force field says of them. So nothing
depends on which four atoms a torsion is measured by, hands of stereocentres are seen by the angles between neighbours
of one atom, and equivalent atoms are equivalent.
"""

from __future__ import annotations

import io
import warnings
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from latentmd.core.layers import mlp
from latentmd.core.steps.angles import CircularDensity, torsion_features
from latentmd.model.file import BundleError, read_sealed, write_sealed
from latentmd.model.manifest import Seal

with warnings.catch_warnings():  # its modules script some functions, which PyTorch has deprecated
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
    from torch_geometric.data import Batch as Batch
    from torch_geometric.data import Data
    from torch_geometric.nn import GINEConv
    from torch_geometric.utils import scatter

ATOM, BOND, PAIR = 23, 2, 6  # features of each
_HARMONICS = 3  # of known torsions that are read
_ORDER = 16  # highest harmonic of a density's logarithm
_KELVIN = 300.0  # at which coefficients are those of the network


class TorsionGraph(Data):  # type: ignore[misc]
    """A molecule, alone or in a batch; `latentmd.sampling.torsion_draws.torsion_graph` makes it.

    `x` [atoms, ATOM], `bond` [bonds, BOND] of `bond_index` [2, bonds], `pair` [pairs, PAIR] of the 1-4 pairs
    `pair_index` [4, pairs], each about the bond of a `torsion` [pairs], from whose angle its own differs by `offset`
    [pairs] radians. Of the torsions about all bonds: `drawn` [torsions] those that can be drawn.
    """

    def __inc__(self, key: str, value: object, *args: object, **kwargs: object) -> int | Tensor:
        step: int | Tensor = len(self.drawn) if key == "torsion" else super().__inc__(key, value, *args, **kwargs)
        return step


class GraphTorsions(CircularDensity):
    """p(θ_t | θ known, molecule, T) of any torsion of a molecule: the sum over the 1-4 pairs (a, d) about its bond of

        ln p(θ) = (300 K / T) Σ_ad Σ_m [a_m cos m(θ + δ_ad) + b_m sin m(θ + δ_ad)] + const,  m ≤ 16

    with a pair's offset δ and coefficients from a network (GINE; Hu et al., ICLR 2020, arXiv 1905.12265). It sees the
    molecule or its mirror image, by chance, so that mirror images are drawn alike. Trained with any known torsions of a
    part that hangs together, it gives a joint density by the chain rule (Hoogeboom et al., ICLR 2022, arXiv
    2110.02037).
    """

    def __init__(self, width: int = 64, depth: int = 4) -> None:
        super().__init__(_ORDER)
        self.width, self.depth = width, depth
        self.atom, self.heat = nn.Linear(ATOM, width), nn.Linear(2, width)
        turned = 2 * _HARMONICS + 1
        self.along = nn.ModuleList([nn.Linear(BOND, width) for _ in range(depth)])
        self.across = nn.ModuleList([nn.Linear(PAIR + turned, width) for _ in range(depth)])
        self.norms = nn.ModuleList([nn.LayerNorm(width) for _ in range(depth)])
        self.rounds = nn.ModuleList(
            [GINEConv(mlp([width, 2 * width, width], last_zero=True), train_eps=True) for _ in range(depth)]
        )
        self.ends = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, 2 * width))
        self.own = nn.Linear(PAIR, width)
        self.density = mlp([width, width, 2 * _ORDER], last_zero=True)

    def forward(self, graph: TorsionGraph, angles: Tensor, known: Tensor, kelvin: Tensor, hand: Tensor) -> Tensor:
        """Coefficients [torsions, 2 · order] of the densities of all torsions, given those that are known.

        A batch of molecules with torsions [torsions] in radians and whether each is known; of every molecule
        [molecules] the temperature, and 1, or -1 where the network is to see its mirror image.
        """
        a, j, k, d = graph.pair_index
        scale, side = (_KELVIN / kelvin)[graph.batch], hand[graph.batch[j]].unsqueeze(-1)
        turned = side[:, 0] * (angles[graph.torsion] + graph.offset)
        seen = torch.cat([graph.pair, torsion_features(turned, known[graph.torsion], _HARMONICS)], dim=1)
        b, e = graph.bond_index
        edges = torch.stack([torch.cat([b, e, a, d]), torch.cat([e, b, d, a])])
        h = self.atom(graph.x) + self.heat(torch.stack([scale - 0.75, (scale - 0.75) ** 2], dim=-1))
        for along, across, norm, conv in zip(self.along, self.across, self.norms, self.rounds, strict=True):
            one, two = along(graph.bond), across(seen)
            h = h + conv(norm(h), edges, torch.cat([one, one, two, two]))
        outer, inner = self.ends(h).chunk(2, dim=1)
        about = outer[a] + inner[j] + outer[d] + inner[k] + self.own(graph.pair)
        even, odd = (self.density(nn.functional.silu(about)) * scale[j].unsqueeze(-1)).chunk(2, dim=1)
        phase = graph.offset.unsqueeze(-1) * torch.arange(1, _ORDER + 1, device=h.device)
        cosine, sine, odd = phase.cos(), phase.sin(), side * odd
        own = torch.cat([even * cosine + odd * sine, odd * cosine - even * sine], dim=1)
        total: Tensor = scatter(own, graph.torsion, dim=0, dim_size=len(angles), reduce="sum")
        return total


class TorsionManifest(Seal):
    """What a model of torsions learnt from: temperatures in K, number of molecules, force field, and how."""

    format: Literal["latentmd-torsions-1"] = "latentmd-torsions-1"
    temperatures: tuple[float, float]
    molecules: int = Field(gt=0)
    force_field: str
    training: dict[str, Any] = Field(default_factory=dict)


def save_torsions(path: Path, model: GraphTorsions, manifest: TorsionManifest) -> TorsionManifest:
    """Write a model, its weights in half precision; returns the filled-in manifest."""
    exact = ("grid", "waves")
    weights = {key: value if key in exact else value.half() for key, value in model.state_dict().items()}
    buffer = io.BytesIO()
    torch.save({"width": model.width, "depth": model.depth, "weights": weights}, buffer)
    return write_sealed(path, buffer, manifest)


def load_torsions(path: Path | None = None) -> tuple[GraphTorsions, TorsionManifest]:
    """Read a model of torsions, the bundled one by default; BundleError where the file is none or damaged."""
    path = path or Path(str(files("latentmd.model").joinpath("torsions.pt")))
    if not path.is_file():
        raise BundleError(f"{path}: no such file; expected a model of torsions")
    data, manifest, _ = read_sealed(path, TorsionManifest)
    stored = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    model = GraphTorsions(stored["width"], stored["depth"])
    model.load_state_dict(stored["weights"])
    return model.eval(), manifest
