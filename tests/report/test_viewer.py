"""What the 3-D view is given: atoms, bonds, and aligned frames."""

from __future__ import annotations

import mdtraj
import numpy as np
import pytest

from latentmd.report.viewer import VIEW_FRAMES, View, shown_atoms, view_data


def test_view_holds_atoms_bonds_and_aligned_coordinates_in_angstrom() -> None:
    loaded = mdtraj.load("systems/molecules/alanine_dipeptide.pdb")
    frames = loaded.xyz + np.random.default_rng(0).normal(0, 0.01, (300, *loaded.xyz.shape[1:]))
    sets = [("generated", frames, 5.0 * np.arange(300)), ("<reference>", frames[:9], np.arange(9.0))]
    data = view_data(View(loaded.topology, sets))
    first, other = data["sets"]
    assert data["style"] == "atoms" and len(first["frames"]) == VIEW_FRAMES and len(other["frames"]) == 9
    assert sum(len(atom["bonds"]) for atom in data["atoms"]) == 2 * 21
    assert all(i in data["atoms"][j]["bonds"] for i, atom in enumerate(data["atoms"]) for j in atom["bonds"])
    values = np.array(first["frames"]).reshape(VIEW_FRAMES, 22, 3)
    assert np.linalg.norm(values[0, 0] - values[0, 21]) == pytest.approx(
        10 * np.linalg.norm(frames[0, 0] - frames[0, 21]), abs=0.02
    )
    assert np.abs(values - values[0]).max() < 0.8  # only the noise is left
    assert first["times"][-1] == 5.0 * 299


def test_frames_are_superposed_on_the_first() -> None:
    loaded = mdtraj.load("systems/molecules/alanine_dipeptide.pdb")
    rng = np.random.default_rng(1)
    turns = [np.linalg.qr(rng.normal(size=(3, 3)))[0] for _ in range(4)]
    frames = np.stack([loaded.xyz[0] @ (t * np.sign(np.linalg.det(t))) + rng.normal(size=3) for t in turns])
    (shown,) = view_data(View(loaded.topology, [("turned", frames, np.arange(4.0))]))["sets"]
    np.testing.assert_allclose(shown["frames"], np.repeat(shown["frames"][:1], 4, axis=0), atol=0.0101)  # rounded


def _chain(residues: int) -> mdtraj.Topology:
    topology = mdtraj.Topology()
    chain = topology.add_chain()
    for _ in range(residues):
        residue = topology.add_residue("ALA", chain)
        for name in ("N", "CA", "C", "O", "CB"):
            topology.add_atom(name, mdtraj.element.get_by_symbol(name[0]), residue)
    return topology


@pytest.mark.parametrize(
    ("residues", "style", "atoms"), [(80, "atoms", 400), (81, "backbone", 324), (300, "trace", 300)]
)
def test_larger_molecules_are_shown_as_backbone_or_trace(residues: int, style: str, atoms: int) -> None:
    topology = _chain(residues)
    chosen, found = shown_atoms(topology, [atom.element.symbol for atom in topology.atoms])
    assert (found, len(chosen)) == (style, atoms)
