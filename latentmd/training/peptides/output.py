"""The file of a trained model of many peptides: its coverage, and statistics of what it was trained on."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from latentmd.evaluation.residue_table import ResidueTable
from latentmd.model.bound_peptide import BoundPeptide
from latentmd.model.neighbours import mean_tokens
from latentmd.model.peptide_file import PeptideManifest, save_peptides
from latentmd.model.peptides import PeptideModel
from latentmd.molecule.chain import Chain
from latentmd.molecule.coverage import PeptideChemistry

if TYPE_CHECKING:
    from latentmd.systems.protocol import Protocol

_LONGEST = 8  # residues; the relative positions of attention are told apart up to here
_CAPS = ("ACE", "NME", "NH2")
_STANDARD = {"HID": "HIS", "HIE": "HIS", "HIP": "HIS", "ASH": "ASP", "GLH": "GLU", "LYN": "LYS", "CYM": "CYS",
             "CYX": "CYS"}  # fmt: skip


def coverage_of(table: Iterable[str], protocol: Protocol) -> PeptideChemistry:
    """What a model covers: the residues in their places of its table of local geometry, under one protocol."""
    keys = frozenset(table)
    types = {key.split()[0] for key in keys}
    places = {(key.split()[0], key.split()[1].rstrip(":")) for key in keys}
    ends = {name for name, _ in places if name in _CAPS}
    if any(name not in _CAPS and place in ("first", "last", "only") for name, place in places):
        ends.add("")
    return PeptideChemistry(
        residues=frozenset(_STANDARD.get(name, name) for name in types if name not in _CAPS),
        ends=frozenset(ends),
        lengths=(1, _LONGEST),
        temperature=(protocol.temperature, protocol.temperature),
        force_field=protocol.force_field_files,
        templates=keys,
    )


def write_model(
    path: Path,
    model: PeptideModel,
    table: ResidueTable,
    chains: Sequence[Chain],
    *,
    protocol: Protocol,
    frame_interval: float,
    name: str = "peptides",
    held_out: Sequence[str] = (),
    training: dict[str, Any] | None = None,
) -> PeptideManifest:
    """Write a model with its coverage, its residue table and the mean latent tokens of its training peptides.

    Args:
        path: file to write.
        model: in evaluation mode.
        table: of the training peptides.
        chains: of the training peptides.
        protocol: of the trajectories.
        frame_interval: ps.
        name: of the model.
        held_out: sequences that were kept out of training.
        training: what was asked for, and how long it took.
    """
    device = next(model.parameters()).device
    model = model.cpu().eval()
    tokens = [mean_tokens(BoundPeptide(model, chain).eval()) for chain in chains]
    kinds = [torch.from_numpy(chain.types[:, 0]) for chain in chains]
    statistics = {
        "table_counts": torch.from_numpy(table.torsions).int(),
        "planes": torch.from_numpy(table.planes).int(),
        "tokens": torch.cat(tokens).half(),
        "kinds": torch.cat(kinds).to(torch.uint8),
    }
    manifest = PeptideManifest(
        name=name,
        coverage=coverage_of(model.table, protocol),
        lag=model.config.lags,
        frame_interval=frame_interval,
        temperature=protocol.temperature,
        friction=protocol.friction,
        timestep=protocol.timestep,
        hydrogen_mass=protocol.hydrogen_mass,
        solvent=protocol.solvent,
        force_field=list(protocol.force_field_files),
        sequences=sorted({chain.sequence for chain in chains}),
        held_out=sorted(set(held_out)),
        training=training or {},
    )
    try:
        return save_peptides(path, model, manifest, statistics)
    finally:
        model.to(device)
