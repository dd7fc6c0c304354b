"""The graph of a molecule's torsions with the parameters of its force field, and torsions drawn by a model of them."""

from __future__ import annotations

from itertools import product

import networkx
import numpy as np
import torch

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.model.torsions import GraphTorsions, TorsionGraph
from latentmd.molecule.bonds import bond_graph
from latentmd.molecule.checks import torsions as dihedrals
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.terms import Terms

_ELEMENTS = ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I")
_RINGS = (3, 4, 5, 6, 7)  # atoms; larger ones count as the last
_PERIODS = 6  # of the force field's torsional terms


def torsion_graph(terms: Terms, symbols: list[str], bonds: Ints, reference: Floats, drawn: Ints) -> TorsionGraph:
    """Graph of a molecule whose torsions of atoms `drawn` (drawn, 4) are to be drawn.

    Of the force field it holds charges, Lennard-Jones parameters and torsional terms, of a structure `reference`
    (atoms, 3) in nm lengths of bonds and angles between the neighbours of an atom. Torsions that are neither drawn nor
    in a ring nor of a methyl group stay as they are in it. Beside the features: `quads` [torsions, 4], those drawn as
    given, their `angles` [torsions] in the structure, and `stays` [torsions].
    """
    graph, given = bond_graph(len(symbols), bonds), {frozenset(quad[1:3]): quad for quad in drawn.tolist()}
    quads = np.array(
        [given.get(frozenset(quad[1:3]), quad) for quad in rotatable_torsions(symbols, bonds, rotors=True).tolist()]
    ).reshape(-1, 4)
    found = [
        (t, a, j, k, d)
        for t, (_, j, k, _) in enumerate(quads.tolist())
        for a, d in product(set(graph[j]) - {k}, set(graph[k]) - {j})
        if a != d
    ]
    torsion, pairs = np.split(np.array(found, dtype=np.int64).reshape(-1, 5), [1], axis=1)
    angles, own = dihedrals(reference[None], quads)[0], dihedrals(reference[None], pairs)[0]
    bridges = {frozenset(bond) for bond in networkx.bridges(graph)}
    plain = {frozenset(quad[1:3]) for quad in rotatable_torsions(symbols, bonds).tolist()}
    middles = [frozenset(quad[1:3]) for quad in quads.tolist()]
    lengths = np.linalg.norm(np.diff(reference[bonds], axis=1)[:, 0], axis=1)
    arrays = {
        "x": _atoms(terms, symbols, graph), "pair": _torsional_terms(terms, pairs),
        "bond": np.stack([(lengths - 0.14) / 0.02, [frozenset(b) in bridges for b in bonds.tolist()]], axis=1),
        "bond_index": np.asarray(bonds).T, "pair_index": pairs.T, "torsion": torsion[:, 0],
        "offset": own - angles[torsion[:, 0]], "angles": angles, "quads": quads,
        "drawn": np.array([middle in given for middle in middles]),
        "stays": np.array([middle in (bridges & plain) - set(given) for middle in middles]),
    }  # fmt: skip
    tensors = {name: torch.as_tensor(np.ascontiguousarray(values)) for name, values in arrays.items()}
    floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return TorsionGraph(**floats, num_nodes=len(symbols))


def _atoms(terms: Terms, symbols: list[str], graph: networkx.Graph) -> Doubles:
    """Element, neighbours, rings, hydrogens, charge and Lennard-Jones parameters of each atom, shape (atoms, ATOM)."""
    rings = networkx.minimum_cycle_basis(graph)
    rows = []
    for i, symbol in enumerate(symbols):
        sizes = {min(len(ring), _RINGS[-1]) for ring in rings if i in ring}
        kinds = [symbol == element for element in _ELEMENTS] + [graph.degree[i] == n for n in (1, 2, 3, 4)]
        charge, sigma, epsilon = terms.nonbonded[i]
        light = sum(symbols[j] == "H" for j in graph[i])
        rows.append([*kinds, *(n in sizes for n in _RINGS), light / 2, 2 * charge, 10 * sigma - 3, epsilon**0.5])
    return np.array(rows, dtype=np.float64)


def _torsional_terms(terms: Terms, pairs: Ints) -> Doubles:
    """Amplitudes k cos(phase) of each period about the bonds of 1-4 pairs (pairs, 4), 10 kJ/mol, (pairs, periods)."""
    found: dict[tuple[int, ...], Doubles] = {}
    for (*atoms, period), (phase, k) in zip(terms.torsions.tolist(), terms.torsion, strict=True):
        for key in {tuple(atoms), tuple(atoms[::-1])}:
            found.setdefault(key, np.zeros(_PERIODS))[period - 1] += k * np.cos(phase) / 10
    none = np.zeros(_PERIODS)
    return np.array([found.get(tuple(pair), none) for pair in pairs.tolist()]).reshape(-1, _PERIODS)


def order_of(graph: TorsionGraph, root: int) -> list[int]:
    """Torsions that are drawn, numbers of `quads`, in the order of their bonds' distance from that of one of them."""
    atoms = networkx.Graph(graph.bond_index.T.tolist())
    quads = graph.quads.tolist()
    far = networkx.multi_source_dijkstra_path_length(atoms, set(quads[root][1:3]))
    return sorted(np.flatnonzero(graph.drawn.numpy()).tolist(), key=lambda t: sum(far[a] for a in quads[t][1:3]))


def draw_torsions(
    model: GraphTorsions, graph: TorsionGraph, kelvin: float, number: int, generator: torch.Generator
) -> tuple[Doubles, Doubles]:
    """Draw torsions at a temperature, one after another from the middle of the molecule outwards.

    Gives angles (number, torsions) in radians of all torsions of the graph, those not drawn as in its structure, and
    ln of the joint density of what was drawn, per radian^drawn.
    """
    from torch_geometric.data import Batch

    batch = Batch.from_data_list([graph] * number)
    angles, known = batch.angles.clone(), batch.stays.clone()
    density = torch.zeros(number)
    drawn = np.flatnonzero(graph.drawn.numpy())
    root = min(drawn.tolist(), key=lambda t: _reach(graph, t))
    first = torch.arange(number) * len(graph.drawn)
    with torch.no_grad():
        for t in order_of(graph, root):
            coefficients = model(batch, angles, known, torch.full((number,), kelvin))[first + t]
            angles[first + t] = model.draw(coefficients, torch.rand(number, generator=generator))
            density += model.log_density(coefficients, angles[first + t])
            known[first + t] = True
    return angles.reshape(number, -1).double().numpy(), density.double().numpy()


def _reach(graph: TorsionGraph, torsion: int) -> int:
    atoms = networkx.Graph(graph.bond_index.T.tolist())
    return max(networkx.multi_source_dijkstra_path_length(atoms, set(graph.quads[torsion, 1:3].tolist())).values())
