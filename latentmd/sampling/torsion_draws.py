"""The graph of a molecule's torsions with the parameters of its force field, and torsions drawn by a model of them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import product

import networkx
import numpy as np
import torch

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.model.torsion_graph import Batch, GraphTorsions, TorsionGraph, load_torsions
from latentmd.molecule.bonds import bond_graph
from latentmd.molecule.checks import topology_arrays
from latentmd.molecule.checks import torsions as dihedrals
from latentmd.molecule.torsions import rotatable_torsions
from latentmd.replicas.terms import Terms, UnsupportedError, read_terms
from latentmd.systems.molecule import Molecule

_ELEMENTS = ("H", "C", "N", "O", "F", "P", "S", "Cl", "Br", "I")
_RINGS = (3, 4, 5, 6, 7)  # atoms; larger ones count as the last
_FLAT = np.deg2rad(145.0)  # least angle about a bond between the two neighbours of an atom that counts as flat
_TOGETHER = 32  # structures that are drawn at a time; more do not fit into caches
_PERIODS = 6  # of the force field's torsional terms


def torsion_graph(terms: Terms, symbols: list[str], bonds: Ints, reference: Floats, drawn: Ints) -> TorsionGraph:
    """Graph of a molecule whose torsions of atoms `drawn` (drawn, 4) are to be drawn.

    Of the force field it holds charges, Lennard-Jones parameters, lengths of bonds and torsional terms, of a structure
    `reference` (atoms, 3) in nm the angles between the neighbours of an atom about a bond. Torsions that are neither
    drawn nor in a ring nor of a methyl group stay as they are in it. Beside the features: `quads` [torsions, 4], those
    drawn as given, their `angles` [torsions] in the structure, and `stays` [torsions].
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
    torsion, (first, *_, last) = torsion[:, 0], quads[torsion[:, 0]].T
    angles = dihedrals(reference[None], quads)[0]
    left, right = np.c_[pairs[:, :3], last], np.c_[first, pairs[:, 1:]]
    offset = sum(_stagger(dihedrals(reference[None], four)[0] - angles[torsion]) for four in (left, right))
    bridges = {frozenset(bond) for bond in networkx.bridges(graph)}
    plain = {frozenset(quad[1:3]) for quad in rotatable_torsions(symbols, bonds).tolist()}
    middles = [frozenset(quad[1:3]) for quad in quads.tolist()]
    lengths = _lengths(terms, bonds)
    arrays = {
        "x": _atoms(terms, symbols, graph), "pair": _torsional_terms(terms, pairs),
        "bond": np.stack([(lengths - 0.14) / 0.02, [frozenset(b) in bridges for b in bonds.tolist()]], axis=1),
        "bond_index": np.asarray(bonds).T, "pair_index": pairs.T, "torsion": torsion,
        "offset": offset, "angles": angles, "quads": quads,
        "drawn": np.array([middle in given for middle in middles]),
        "stays": np.array([middle in (bridges & plain) - set(given) for middle in middles]),
    }  # fmt: skip
    tensors = {name: torch.as_tensor(np.ascontiguousarray(values)) for name, values in arrays.items()}
    floats = {name: t.float() if t.is_floating_point() else t for name, t in tensors.items()}
    return TorsionGraph(**floats, num_nodes=len(symbols))


def _stagger(angles: Floats) -> Doubles:
    """Angles about a bond between neighbours of one atom as half or thirds of a turn, so that equal atoms are equal."""
    apart = np.angle(np.exp(1j * angles))
    third = np.sign(apart) * 2 * np.pi / 3
    return np.where(np.abs(apart) > _FLAT, np.pi, np.where(np.abs(apart) < 1e-3, 0.0, third))


def _lengths(terms: Terms, bonds: Ints) -> Doubles:
    """Lengths of bonds (bonds, 2) in the force field, nm, shape (bonds,)."""
    bonded, held = zip(terms.bonds, terms.bond[:, 0], strict=True), zip(terms.constraints, terms.distance, strict=True)
    ideal = {frozenset(pair.tolist()): length for pair, length in (*bonded, *held)}
    return np.array([ideal[frozenset(bond)] for bond in bonds.tolist()])


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


def draw_torsions(
    model: GraphTorsions, graph: TorsionGraph, kelvin: Sequence[float] | Floats, generator: torch.Generator
) -> Doubles:
    """Draw one structure's torsions at each temperature, one after another from the middle of the molecule outwards.

    Gives angles (structures, torsions) in radians of all torsions of the graph, those not drawn as in its structure.
    """
    found = []
    for heat in torch.as_tensor(kelvin, dtype=torch.float32).split(_TOGETHER):
        batch, number = Batch.from_data_list([graph] * len(heat)), len(heat)
        angles, known, first = batch.angles.clone(), batch.stays.clone(), torch.arange(number) * len(graph.drawn)
        hand = 2.0 * torch.randint(2, (number,), generator=generator) - 1
        with torch.no_grad():
            for torsion in _outwards(graph):
                coefficients = model(batch, angles, known, heat, hand)[first + torsion]
                angles[first + torsion] = model.draw(coefficients, torch.rand(number, generator=generator))
                known[first + torsion] = True
        found.append(angles.reshape(number, -1).double().numpy())
    return np.concatenate(found)


def _outwards(graph: TorsionGraph) -> list[int]:
    """Torsions that are drawn, numbers of `quads`, by the distance of their bonds from the most central one."""
    drawn, middles = np.flatnonzero(graph.drawn.numpy()).tolist(), graph.quads[:, 1:3].tolist()
    bonds = networkx.Graph(graph.bond_index.T.tolist())
    far = {t: networkx.multi_source_dijkstra_path_length(bonds, set(middles[t])) for t in drawn}
    root = min(drawn, key=lambda t: max(far[t].values()))
    return sorted(drawn, key=lambda t: sum(far[root][atom] for atom in middles[t]))


def guess_by_graph(
    molecule: Molecule, reference: Floats, quads: Ints, *, drawn: Collection[int], kelvin: Floats, seed: int
) -> Doubles | None:
    """Torsions quads (torsions, 4) as the bundled model draws them at each of some temperatures; None where it cannot.

    Those not in `drawn` are as in the structure (atoms, 3) in nm; shape (temperatures, torsions).
    """
    symbols, bonds = topology_arrays(molecule.topology)
    try:
        terms = read_terms(molecule.system)
    except UnsupportedError:
        return None
    if not drawn or not set(symbols) <= set(_ELEMENTS):
        return None
    graph = torsion_graph(terms, symbols, bonds, reference, quads[sorted(drawn)])
    found = draw_torsions(load_torsions()[0], graph, kelvin, torch.Generator().manual_seed(seed))
    middles = [frozenset(quad[1:3]) for quad in graph.quads.tolist()]
    return found[:, [middles.index(frozenset(quad[1:3])) for quad in quads.tolist()]]
