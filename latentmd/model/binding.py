"""Binding of a model of many peptides to one of them, as a model file like any other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmd.arrays import Floats
from latentmd.io.pdb import pdb_text
from latentmd.model.file import Bundle, BundleError, save
from latentmd.model.manifest import Manifest
from latentmd.model.peptide_file import NAME, PeptideFile, PeptideManifest, load_peptides
from latentmd.model.zero_shot import measured
from latentmd.molecule.chain import Chain, chain, hands
from latentmd.molecule.chemistry import fingerprint, residue_tokens

if TYPE_CHECKING:
    from openmm import app

    from latentmd.model.bound_peptide import BoundPeptide

_OWN = {"format", "created", "versions", "weights_sha256", "coverage", "training", "metrics"}  # of the model of many
_HALF = ["encoder", "mean", "drawn.trunk", "drawn.causal", "drawn.head"]  # stored in half precision already


def bound_peptide(
    topology: app.Topology, positions: Floats, model: PeptideFile | str | Path = NAME
) -> tuple[BoundPeptide, Chain, PeptideFile]:
    """The bound model, its chain (mirrored where all are D, by positions [atoms, 3] nm), and file; or BundleError."""
    from latentmd.model.bound_peptide import BoundPeptide

    file = model if isinstance(model, PeptideFile) else load_peptides(model)
    answer = file.manifest.coverage.covers(topology, positions=positions)
    if not answer:
        raise BundleError(f"the model {file.manifest.name} does not cover this molecule: {answer.reason}")
    mirrored = any(hands(topology, positions))
    found = chain(topology, np.asarray(positions) * np.array([1.0, 1.0, -1.0 if mirrored else 1.0]))
    return BoundPeptide(file.model, found, mirrored).eval(), found, file


def bind(
    topology: app.Topology,
    positions: Floats,
    out: str | Path,
    model: PeptideFile | str | Path = NAME,
    *,
    fit: Callable[[BoundPeptide], None] | None = None,
    fine_tuned: dict[str, Any] | None = None,
    metrics: dict[str, Any] | None = None,
) -> Manifest:
    """Write a model file, without energy, of one peptide from a model of many that was not trained on it.

    `fit` is applied to the bound model before. What it was `fine_tuned` on is in its manifest, which then has no
    `zero_shot`. BundleError as for `bound_peptide`.
    """
    bound, found, file = bound_peptide(topology, positions, model)
    if fit is not None:
        fit(bound)
    known: dict[str, Any] = {"training": {"tilted": bound.tilt is not None, "fine_tuned": fine_tuned}}
    if fine_tuned is None:
        known["zero_shot"] = measured(bound, found, file)
    name = f"{file.manifest.name}, {'bound' if fine_tuned is None else 'fine-tuned'} to {found.sequence}"
    known |= {"name": name, "slow_axes": bound.axes * bound.n_tokens, "metrics": metrics or {}, "half_precision": _HALF}
    return save(out, bound, bound_manifest(file.manifest, topology, positions).model_copy(update=known))


def bound_bundle(topology: app.Topology, positions: Floats, model: str | Path = NAME) -> Bundle:
    """A model of many peptides bound to one of them, in memory; the path is that of the model of many."""
    bound, found, file = bound_peptide(topology, positions, model)
    known = {"slow_axes": bound.axes * bound.n_tokens, "zero_shot": measured(bound, found, file)}
    manifest = bound_manifest(file.manifest, topology, positions).model_copy(update=known)
    return Bundle(bound.requires_grad_(False), manifest, file.sha256, file.path)


def bound_manifest(source: PeptideManifest, topology: app.Topology, positions: Floats) -> Manifest:
    """Manifest of a model of many peptides for one of them, before it is bound: molecule, conditions and lags."""
    shared = set(Manifest.model_fields) & set(PeptideManifest.model_fields) - _OWN
    return Manifest(
        **{name: getattr(source, name) for name in shared}, topology=pdb_text(topology, positions),
        fingerprint=fingerprint(topology), tokens=list(residue_tokens(topology)), split={}, seed=0, metrics={},
        slow_axes=1,
    )  # fmt: skip
