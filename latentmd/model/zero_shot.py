"""In words: how far a model can be trusted for a molecule that it was not trained on, and how to go on."""

from __future__ import annotations

from pathlib import Path
from shlex import quote

from latentmd.model.manifest import ZeroShot
from latentmd.model.peptide_file import NAME
from latentmd.units import percent


def zero_shot_lines(found: ZeroShot, source: str, sound: float | None = None) -> list[str]:
    """A line each on training, neighbours in sequence, latent distance, checks, and what to do next; `sound`: share
    of frames that pass the structure checks, where they are counted.
    """
    lines = zero_shot_facts(found)
    if sound is not None:
        lines.append(f"structure checks: {percent(sound, 1)} of frames pass")
    exact, *tuned = next_commands(found, source)
    return [*lines, f"to go on: exact statistics, `{exact}`; a model fine-tuned on MD of this molecule, "
                    + "`" + "`, then `".join(tuned) + "`"]  # fmt: skip


def zero_shot_facts(found: ZeroShot) -> list[str]:
    """A line each on training, neighbours in sequence and latent distance."""
    lines = [
        f"this sequence is one of those that the model {found.model} was trained on, together with others"
        if found.trained
        else f"zero-shot: not trained on this molecule; the model {found.model} knows others like it"
    ]
    total = sum(name.upper() not in ("ACE", "NME", "NH2") for name in found.sequence.split("-"))
    near = ", ".join(f"{sequence} ({shared} of {total} residues in place)" for sequence, shared in found.nearest)
    lines.append(
        f"nearest training sequences: {near}; {percent(found.pairs)} of its pairs of neighbours occur in training"
    )
    if found.latent_distance is not None:
        lines.append(
            f"latent distance to the training set: {found.latent_distance:.1f} "
            "(1: as far as training peptides are from one another)"
        )
    return lines


def next_commands(found: ZeroShot, source: str) -> list[str]:
    """Commands to go on with: exact statistics; then MD of the molecule, and a model fine-tuned on it."""
    start = NAME if found.model == NAME else f"{found.model}.pt"  # a trained model has the name of its file
    stem, source = quote(Path(source).name.removesuffix(".pdb")), quote(source)
    return [
        f"latentmd simulate {source} --wall 10min",
        f"latentmd md {source} --time 20ns --out {stem}-md",
        f"latentmd train finetune {stem}-md/walker-*.xtc --top {stem}-md/topology.pdb --from {start} --out {stem}.pt",
    ]
