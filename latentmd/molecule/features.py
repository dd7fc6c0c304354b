"""Molecular graphs: chemistry features, bond-graph distances, and torch-geometric batches of frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from latentmd.molecule.chemistry import AMINO_ACIDS, ATOMIC_WEIGHTS, Chemistry, chemistry
from latentmd.molecule.fingerprint import fingerprint as fingerprint
from latentmd.molecule.tokens import residue_tokens

if TYPE_CHECKING:
    from torch_geometric.data import Batch

MAX_SEPARATION = 4  # bond-graph distances are told apart up to 3 (torsions); 4 stands for further or not bonded
MAX_DEGREE = 4

# The order of these lists is part of every trained model: append, never insert. Id 0 is "unknown".
ELEMENTS = tuple(ATOMIC_WEIGHTS)
RESIDUES = (*sorted(AMINO_ACIDS), "ACE", "NME", "NH2", "HOH")
HEAVY_SITES = (
    "N CA C O OXT CH3 CB CG CG1 CG2 CD CD1 CD2 CE CE1 CE2 CE3 CZ CZ2 CZ3 CH2"
    " ND1 ND2 NE NE1 NE2 NZ NH1 NH2 OD1 OD2 OE1 OE2 OG OG1 OH SD SG"
).split()
SITES = (*HEAVY_SITES, *(f"H on {name}" for name in HEAVY_SITES), "H on other")

#: Vocabulary sizes of element, residue type, site and degree.
FEATURE_SIZES: tuple[int, int, int, int] = (len(ELEMENTS) + 1, len(RESIDUES) + 1, len(SITES) + 1, MAX_DEGREE + 1)


class MoleculeGraph(NamedTuple):
    """The parts of a molecule's graph that do not move.

    Attributes:
        features: [atoms, 4] long: element, residue type, site, degree. The site of a hydrogen is that of its parent
            ("H on CB"), so equivalent hydrogens have equal features.
        separation: [atoms, atoms] long: bond-graph distance, 4 for four or more bonds and for unconnected atoms.
        tokens: [atoms] long: token of each atom.
        masses: [atoms] float32: amu, without hydrogen mass repartitioning.
    """

    features: Tensor
    separation: Tensor
    tokens: Tensor
    masses: Tensor


def molecule_graph(topology: Any) -> MoleculeGraph:
    """Graph of a molecule from an mdtraj.Topology, openmm.app.Topology or Chemistry.

    Raises:
        ValueError: for a topology without atoms or with unbonded atoms inside a residue.
    """
    record = chemistry(topology)
    return MoleculeGraph(
        features=_features(record),
        separation=_separation(record),
        tokens=torch.tensor(residue_tokens(record), dtype=torch.long),
        masses=torch.tensor(record.masses, dtype=torch.float32),
    )


def _features(record: Chemistry) -> Tensor:
    neighbours = record.neighbours()
    rows = []
    for i, symbol in enumerate(record.symbols):
        site = record.names[i]
        if symbol == "H":
            parent = record.names[neighbours[i][0]] if neighbours[i] else ""
            site = f"H on {parent}" if parent in HEAVY_SITES else "H on other"
        ids = (_identifier(ELEMENTS, symbol), _identifier(RESIDUES, record.residues[i]), _identifier(SITES, site))
        rows.append((*ids, min(len(neighbours[i]), MAX_DEGREE)))
    return torch.tensor(rows, dtype=torch.long)


def _identifier(vocabulary: tuple[str, ...], name: str) -> int:
    return vocabulary.index(name) + 1 if name in vocabulary else 0


def _separation(record: Chemistry) -> Tensor:
    neighbours = record.neighbours()
    out = torch.full((record.n_atoms, record.n_atoms), MAX_SEPARATION, dtype=torch.long)
    for i in range(record.n_atoms):
        shell, seen = {i}, {i}
        for distance in range(MAX_SEPARATION):
            out[i, list(shell)] = distance
            shell = {k for j in shell for k in neighbours[j]} - seen
            seen |= shell
            if not shell:
                break
    return out


def graph_frames(
    graph: MoleculeGraph, positions: Tensor, cutoff: float | None = None, box: Tensor | None = None
) -> Batch:
    """Frames of one molecule as a torch-geometric batch.

    Args:
        graph: the molecule.
        positions: [frames, atoms, 3] nm.
        cutoff: nm; edges join atoms closer than this, in both directions; None for all pairs.
        box: [frames, 3, 3] nm, rows are box vectors in reduced form; None for no periodicity.

    Returns:
        Batch with `pos` [atoms, 3] nm, `x` [atoms, 4] long, `edge_index` [2, edges] (sender, receiver),
        `edge_separation` [edges] long, `shift` [edges, 3] nm such that pos[receiver] - pos[sender] + shift is the
        minimum image, and `token` [atoms] long, numbered through the batch.

    Raises:
        ValueError: where shapes do not fit or the cutoff exceeds half the shortest box width.
    """
    from torch_geometric.data import Batch, Data

    n_atoms = graph.features.shape[0]
    if positions.dim() != 3 or positions.shape[1:] != (n_atoms, 3):
        raise ValueError(f"Expected positions of shape (frames, {n_atoms}, 3), found {tuple(positions.shape)}.")
    if box is not None:
        _check_box(box, positions.shape[0], cutoff)
    n_tokens = int(graph.tokens.max()) + 1
    frames = []
    for k in range(positions.shape[0]):
        edges, shift = _edges(positions[k], cutoff, None if box is None else box[k : k + 1])
        frames.append(
            Data(
                pos=positions[k],
                x=graph.features,
                edge_index=edges,
                edge_separation=graph.separation[edges[0], edges[1]],
                shift=shift,
                token=graph.tokens + k * n_tokens,
            )
        )
    return Batch.from_data_list(frames)


def _edges(positions: Tensor, cutoff: float | None, box: Tensor | None) -> tuple[Tensor, Tensor]:
    """Directed edges [2, edges] of one frame and the shift [edges, 3] to the minimum image."""
    from latentmd.encoders.egnn import minimum_image

    difference = positions.unsqueeze(0) - positions.unsqueeze(1)  # [sender, receiver]
    nearest = difference if box is None else minimum_image(difference.unsqueeze(0), box)[0]
    near = ~torch.eye(positions.shape[0], dtype=torch.bool, device=positions.device)
    if cutoff is not None:
        near &= nearest.square().sum(-1) < cutoff**2
    sender, receiver = near.nonzero(as_tuple=True)
    return torch.stack([sender, receiver]), (nearest - difference)[sender, receiver].detach()


def _check_box(box: Tensor, n_frames: int, cutoff: float | None) -> None:
    if box.shape != (n_frames, 3, 3):
        raise ValueError(f"Expected box vectors of shape ({n_frames}, 3, 3), found {tuple(box.shape)}.")
    volume = torch.linalg.det(box).abs()
    normals = torch.linalg.cross(box.roll(-1, dims=1), box.roll(-2, dims=1), dim=-1).norm(dim=-1)
    width = float((volume.unsqueeze(-1) / normals).min())
    if cutoff is not None and cutoff > width / 2:
        raise ValueError(
            f"The cutoff of {cutoff:g} nm exceeds half the shortest box width ({width / 2:.3g} nm): the minimum image"
            " would miss neighbours. Use a shorter cutoff or a larger box."
        )
