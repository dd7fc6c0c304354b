"""Laws of the model of torsions: mirror images, equivalent atoms, any measure of a torsion, a normalised density."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch

from latentmd.model.file import BundleError
from latentmd.model.torsion_graph import (
    Batch,
    GraphTorsions,
    TorsionGraph,
    TorsionManifest,
    load_torsions,
    save_torsions,
)
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.terms import read_terms
from latentmd.sampling.torsion_draws import torsion_graph
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.systems.molecule import Molecule

Parts = tuple[Molecule, list[str], np.ndarray, np.ndarray]


@pytest.fixture(scope="module")
def valine() -> Parts:
    """The dipeptide, its symbols, bonds and positions: a stereocentre, two equivalent methyl groups, two amides."""
    molecule = build(bundled("valine_dipeptide"))
    return molecule, *topology_arrays(molecule.topology), np.asarray(molecule.positions._value)


@pytest.fixture(scope="module")
def model() -> GraphTorsions:
    torch.manual_seed(3)
    found = GraphTorsions(width=32, depth=3)
    for layer in [found.density[-1], *(round_.nn[-1] for round_ in found.rounds)]:
        torch.nn.init.normal_(layer.weight, std=0.3)
    return found.eval()


def graph_of(parts: Parts, quads: np.ndarray | None = None, flip: float = 1.0) -> TorsionGraph:
    molecule, symbols, bonds, x = parts
    drawn = rotatable_torsions(symbols, bonds) if quads is None else quads
    return torsion_graph(read_terms(molecule.system), symbols, bonds, x * np.array([1.0, 1.0, flip]), drawn)


def coefficients(
    model: GraphTorsions, graph: TorsionGraph, known: torch.Tensor, kelvin: float = 300.0, hand: float = 1.0
) -> torch.Tensor:
    batch = Batch.from_data_list([graph])
    with torch.no_grad():
        return model(batch, batch.angles, known, torch.tensor([kelvin]), torch.tensor([hand]))


def test_mirror_images_have_densities_that_are_mirror_images(model: GraphTorsions, valine: Parts) -> None:
    one, other = graph_of(valine), graph_of(valine, flip=-1.0)
    known = torch.arange(len(one.drawn)) % 2 == 0
    a, b = coefficients(model, one, known), coefficients(model, other, known, hand=-1.0)
    assert a[:, 16:].abs().max() > 0.05
    torch.testing.assert_close(b, torch.cat([a[:, :16], -a[:, 16:]], dim=1), atol=1e-4, rtol=1e-4)


def test_a_torsion_may_be_measured_by_any_of_its_atoms(model: GraphTorsions, valine: Parts) -> None:
    """χ1 by the other methyl group, or φ from the other end: the density turns with the angle."""
    _, symbols, bonds, _ = valine
    quads = rotatable_torsions(symbols, bonds)
    other = quads[:, ::-1].copy()
    near = {j: [i for pair in bonds.tolist() if j in pair for i in pair if i != j] for j in set(bonds.ravel().tolist())}
    for row in other:
        row[0] = next((i for i in near[row[1]] if i not in row[[0, 2]]), row[0])
    known = torch.zeros(len(graph_of(valine).drawn), dtype=torch.bool)
    a, b = graph_of(valine, quads), graph_of(valine, other)
    offsets = dict(zip(map(tuple, a.pair_index.T.tolist()), a.offset.tolist(), strict=True))
    turn = np.array([offsets.get(tuple(q), offsets.get(tuple(q[::-1]))) for q in b.quads.tolist()])
    assert np.abs(turn).max() > 1
    p, q = coefficients(model, a, known), coefficients(model, b, known)
    angles = torch.linspace(-3, 3, len(p))
    torch.testing.assert_close(
        model.log_density(p, angles), model.log_density(q, angles + torch.tensor(turn).float()), atol=1e-3, rtol=1e-3
    )


def test_equivalent_atoms_are_equivalent(model: GraphTorsions) -> None:
    """A half-turn of a phenyl ring, whose torsion is named by one of two equal atoms."""
    molecule = build(bundled("met_enkephalin"))
    symbols, bonds = topology_arrays(molecule.topology)
    graph = graph_of((molecule, symbols, bonds, np.asarray(molecule.positions._value)))
    names = [atom.name for atom in molecule.topology.atoms()]
    ring = [t for t, (_, j, k, _) in enumerate(graph.quads.tolist()) if {names[j], names[k]} == {"CB", "CG"}]
    residue = {t: next(a for i, a in enumerate(molecule.topology.atoms()) if i == int(graph.quads[t, 1])) for t in ring}
    phenyl = next(t for t in ring if residue[t].residue.name in ("PHE", "TYR"))
    found = coefficients(model, graph, torch.zeros(len(graph.drawn), dtype=torch.bool))[phenyl]
    angles = torch.linspace(-3, 3, 20)
    here, turned = (model.log_density(found.expand(20, -1), a) for a in (angles, angles + math.pi))
    assert here.std() > 1e-3
    torch.testing.assert_close(here, turned, atol=0.05, rtol=0.05)  # offsets of a structure that is not quite flat


def test_known_torsions_and_temperature_matter_and_a_batch_does_not(model: GraphTorsions, valine: Parts) -> None:
    graph = graph_of(valine)
    none = torch.zeros(len(graph.drawn), dtype=torch.bool)
    alone = coefficients(model, graph, none)
    assert (coefficients(model, graph, none, 600.0) - alone).abs().max() > 1e-2
    known = none.clone()
    known[0] = True
    assert (coefficients(model, graph, known) - alone).abs().max() > 1e-3
    other = copy.copy(graph)
    other.angles = graph.angles + 1.0
    torch.testing.assert_close(coefficients(model, other, none), alone)
    batch = Batch.from_data_list([graph_of(valine, flip=-1.0), graph])
    both = model(batch, batch.angles, none.repeat(2), torch.tensor([450.0, 300.0]), torch.ones(2))
    torch.testing.assert_close(both[len(none) :], alone, atol=1e-5, rtol=1e-5)


def test_draws_follow_the_density(model: GraphTorsions) -> None:
    found = torch.randn(1, 32, generator=torch.Generator().manual_seed(1)) / 3
    total = model.log_density(found.expand(180, -1), model.grid).exp().sum() * 2 * math.pi / 180
    assert total.item() == pytest.approx(1.0, abs=1e-5)
    drawn = model.draw(found.expand(40000, -1), torch.rand(40000, generator=torch.Generator().manual_seed(2)))
    counts = torch.histc(drawn, 18, -math.pi, math.pi) / 40000
    expected = model.log_density(found.expand(180, -1), model.grid).exp().reshape(18, 10).mean(1) * 2 * math.pi / 18
    assert (counts - expected).abs().max() < 4 * (expected.max() / 40000).sqrt()


def test_a_file_comes_back_and_a_damaged_one_is_refused(model: GraphTorsions, valine: Parts, tmp_path: Path) -> None:
    path = tmp_path / "torsions.pt"
    written = save_torsions(path, model, TorsionManifest(temperatures=(300, 600), molecules=3, force_field="Sage"))
    again, manifest = load_torsions(path)
    assert manifest == written and written.created
    graph = graph_of(valine)
    none = torch.zeros(len(graph.drawn), dtype=torch.bool)
    torch.testing.assert_close(
        coefficients(again, graph, none), coefficients(model, graph, none), atol=0.05, rtol=0.05
    )  # half precision
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with pytest.raises(BundleError, match="is damaged"):
        load_torsions(path)
    with pytest.raises(BundleError, match="expected a model of torsions"):
        load_torsions(tmp_path / "none.pt")
    with pytest.raises(BundleError, match="has format"):
        load_torsions(Path(__file__).parents[2] / "latentmd" / "model" / "peptides.pt")
