"""A model of many peptides bound to the molecule of a file."""

from __future__ import annotations

from pathlib import Path

from latentmd.model.manifest import Manifest
from latentmd.sampling.models import OneMolecule, given_model
from latentmd.sampling.run.preparation import minimised
from latentmd.systems.builder import build
from latentmd.systems.protocol import DEFAULT_INPUTS, InputOptions, Protocol


def bind_file(
    pdb: str | Path, out: str | Path, model: str | Path = "peptides", inputs: InputOptions = DEFAULT_INPUTS
) -> Manifest:
    """Write a model file of one peptide from a model of many, which was not trained on it.

    Args:
        pdb: the peptide; missing hydrogens are added.
        out: model file to write.
        model: of many peptides, by name or path.
        inputs: choices where the file leaves one.

    Returns:
        The manifest of the new file; `zero_shot` says how near the training set is.

    Raises:
        ValueError: the molecule or the model is wrong, or the model does not cover the molecule.
    """
    from latentmd.model.binding import bind

    source = given_model(str(model))
    if isinstance(source, OneMolecule):
        raise ValueError(f"{model} is a model of one molecule, which needs no binding; expected one of many peptides")
    molecule = build(pdb, Protocol.of(source.manifest, inputs))
    source.check(molecule, Path(pdb))
    return bind(molecule.topology, minimised(molecule, "Reference"), out, source.name)
