"""The graph of a molecule's torsions, and what the bundled model draws, against exact chains."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import openmm
import pytest
import torch

from latentmd.model.torsion_graph import load_torsions
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.torsions import amide_torsions, rotatable_torsions
from latentmd.replicas.terms import read_terms
from latentmd.sampling.torsion_draws import draw_torsions, guess_by_graph, torsion_graph
from latentmd.systems.builder import build
from latentmd.systems.bundled import bundled
from latentmd.systems.molecule import Molecule


@pytest.fixture(scope="module")
def alanine() -> Molecule:
    return build(bundled("alanine_dipeptide"))


def _free(molecule: Molecule) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Positions in nm, torsions, and which of them are no amides."""
    symbols, bonds = topology_arrays(molecule.topology)
    quads = rotatable_torsions(symbols, bonds)
    amides = {tuple(quad) for quad in amide_torsions(symbols, bonds).tolist()}
    return (
        np.asarray(molecule.positions._value),
        quads,
        [i for i, q in enumerate(quads.tolist()) if tuple(q) not in amides],
    )


def test_the_graph_holds_the_force_field_and_what_stays(alanine: Molecule) -> None:
    x, quads, free = _free(alanine)
    symbols, bonds = topology_arrays(alanine.topology)
    terms = read_terms(alanine.system)
    graph = torsion_graph(terms, symbols, bonds, x, quads[free])
    np.testing.assert_allclose(graph.x[:, 20] / 2, terms.nonbonded[:, 0], atol=1e-6)
    assert graph.drawn.sum() == 2 and graph.stays.sum() == 2 and len(graph.drawn) == 7  # φ, ψ; two ω; three methyls
    forces = [f for f in alanine.system.getForces() if isinstance(f, openmm.PeriodicTorsionForce)]
    periods = {tuple(q): np.zeros(6) for q in graph.pair_index.T.tolist()}
    for i in range(forces[0].getNumTorsions()):
        *atoms, period, phase, k = forces[0].getTorsionParameters(i)
        for key in {tuple(atoms), tuple(atoms[::-1])} & set(periods):
            periods[key][period - 1] += k._value * np.cos(phase._value) / 10
    np.testing.assert_allclose(graph.pair, np.array(list(periods.values())), atol=1e-6)


def test_what_is_not_drawn_stays_and_a_seed_decides(alanine: Molecule) -> None:
    x, quads, free = _free(alanine)
    symbols, bonds = topology_arrays(alanine.topology)
    graph = torsion_graph(read_terms(alanine.system), symbols, bonds, x, quads[free])
    model = load_torsions()[0]
    one, other = (draw_torsions(model, graph, [300.0] * 70, torch.Generator().manual_seed(s)) for s in (1, 2))
    stays = graph.stays.numpy()
    np.testing.assert_allclose(one[:, stays], np.tile(graph.angles.numpy()[stays], (70, 1)), atol=1e-6)
    assert one.shape == (70, len(graph.drawn)) and np.abs(one - other)[:, graph.drawn.numpy()].min() > 0


def test_the_bundled_model_knows_a_peptide_that_it_never_saw(alanine: Molecule) -> None:
    """Draws lie where alanine has its basins, and hot ones are spread wider."""
    x, quads, free = _free(alanine)
    cold, hot = (
        guess_by_graph(alanine, x, quads, drawn=free, kelvin=np.full(500, kelvin), seed=1) for kelvin in (300.0, 600.0)
    )
    assert cold is not None and hot is not None and cold.shape == (500, len(quads))
    phi = next(i for i in free if [list(alanine.topology.atoms())[a].name for a in quads[i]] == ["C", "N", "CA", "C"])
    share = [(np.degrees(a[:, phi]) < 0).mean() for a in (cold, hot)]
    assert share[0] > 0.75 and share[0] > share[1]
    again = guess_by_graph(alanine, x, quads, drawn=free, kelvin=np.full(500, 300.0), seed=1)
    np.testing.assert_array_equal(again, cold)


def test_what_the_model_cannot_do_is_none(alanine: Molecule) -> None:
    x, quads, free = _free(alanine)
    assert guess_by_graph(alanine, x, quads, drawn=[], kelvin=np.array([300.0]), seed=1) is None
    system = openmm.XmlSerializer.clone(alanine.system)
    system.addForce(openmm.CustomExternalForce("0"))
    assert (
        guess_by_graph(replace(alanine, system=system), x, quads, drawn=free, kelvin=np.array([300.0]), seed=1) is None
    )
