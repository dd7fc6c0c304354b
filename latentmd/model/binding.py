"""Binding of a model of many peptides to one of them, as a model file like any other."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.pdb import pdb_text
from latentmd.model.file import Bundle, BundleError, save
from latentmd.model.manifest import Manifest, ZeroShot
from latentmd.model.neighbours import known_pairs, latent_distance, mean_tokens, nearest_sequences
from latentmd.model.peptide_file import NAME, PeptideFile, PeptideManifest, load_peptides
from latentmd.molecule.chain import chain, hands
from latentmd.molecule.fingerprint import fingerprint
from latentmd.molecule.tokens import residue_tokens

if TYPE_CHECKING:
    from latentmd.model.bound_peptide import BoundPeptide
    from latentmd.molecule.chain import Chain

_HALF = ["encoder", "mean", "drawn.trunk", "drawn.causal", "drawn.head"]  # stored in half precision already


def bound_peptide(
    topology: Any, positions: Floats, model: PeptideFile | str | Path = NAME
) -> tuple[BoundPeptide, Chain, PeptideFile]:
    """Bind a model of many peptides to one of them, in memory; handedness is read from positions [atoms, 3] in nm.

    Gives the bound model, what it knows of the peptide (of its mirror image where all residues are D), and the file.
    BundleError: the model cannot be loaded, or does not cover the peptide.
    """
    from latentmd.model.bound_peptide import BoundPeptide

    file = model if isinstance(model, PeptideFile) else load_peptides(model)
    answer = file.manifest.coverage.covers(topology, positions=positions)
    if not answer:
        raise BundleError(f"the model {file.manifest.name} does not cover this molecule: {answer.reason}")
    mirrored = any(hands(topology, positions))
    found = chain(topology, np.asarray(positions) * np.array([1.0, 1.0, -1.0 if mirrored else 1.0]))
    return BoundPeptide(file.model, found, mirrored).eval(), found, file


def bind(
    topology: Any,
    positions: Floats,
    out: str | Path,
    model: PeptideFile | str | Path = NAME,
    *,
    fine_tuned: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
) -> Manifest:
    """Write a model file of one peptide from a model of many; it was not trained on that peptide.

    The file serves wherever one of a single molecule does: `simulate`, integrators, `evaluate`. It has no energy. What
    a model was fine-tuned on goes into its manifest, which then has no `zero_shot`. BundleError as for `bound_peptide`.
    """
    bound, found, file = bound_peptide(topology, positions, model)
    return save(
        out,
        bound,
        {
            **_fields(file.manifest, topology, positions),
            "name": f"{file.manifest.name}, {'bound' if fine_tuned is None else 'fine-tuned'} to {found.sequence}",
            "slow_axes": bound.axes * bound.n_tokens,
            "metrics": metrics or {},
            "half_precision": _HALF,
            "training": {} if fine_tuned is None else {"fine_tuned": fine_tuned},
            "zero_shot": None if fine_tuned is not None else zero_shot(bound, found, file).model_dump(),
        },
    )


def bound_bundle(topology: Any, positions: Floats, model: str | Path = NAME) -> Bundle:
    """A model of many peptides bound to one of them, in memory; the path is that of the model of many."""
    bound, found, file = bound_peptide(topology, positions, model)
    known = {"slow_axes": bound.axes * bound.n_tokens, "zero_shot": zero_shot(bound, found, file)}
    manifest = bound_manifest(file.manifest, topology, positions).model_copy(update=known)
    return Bundle(bound.requires_grad_(False), manifest, file.sha256, file.path)


def bound_manifest(source: PeptideManifest, topology: Any, positions: Floats) -> Manifest:
    """Manifest of a model of many peptides for one of them, before it is bound: molecule, conditions and lags."""
    return Manifest.model_validate({**_fields(source, topology, positions), "slow_axes": 1})


def _fields(source: PeptideManifest, topology: Any, positions: Floats) -> dict[str, Any]:
    conditions = (
        "lag", "frame_interval", "temperature", "friction", "timestep", "hydrogen_mass", "solvent", "force_field"
    )  # fmt: skip
    return {
        "name": source.name,
        "topology": pdb_text(topology, positions),
        "fingerprint": fingerprint(topology),
        "tokens": list(residue_tokens(topology)),
        "split": {},
        "seed": 0,
        "metrics": {},
        **{name: getattr(source, name) for name in conditions},
    }


def zero_shot(bound: BoundPeptide, found: Chain, file: PeptideFile) -> ZeroShot:
    """How near a bound peptide is to the training set of its model."""
    import torch

    trained = file.manifest.sequences
    distance = None
    if {"tokens", "kinds"} <= set(file.statistics):
        tokens, kinds = mean_tokens(bound), torch.from_numpy(found.types[:, 0])
        distance = latent_distance(tokens, kinds, file.statistics["tokens"], file.statistics["kinds"])
        distance = distance if np.isfinite(distance) else None
    return ZeroShot(
        model=file.manifest.name,
        sha256=file.sha256,
        sequence=found.sequence,
        trained=found.sequence in trained,
        nearest=nearest_sequences(found.sequence, trained),
        pairs=known_pairs(found.sequence, trained),
        latent_distance=distance,
    )
