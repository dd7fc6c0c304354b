"""Walks over the bond graph of a molecule: neighbours, parts, spanning tree, sides of a bond, equivalent atoms."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from typing import Any

import networkx
import numpy as np
from numpy.typing import NDArray

from latentmd.arrays import Doubles, Floats, Ints

Pairs = Iterable[Sequence[int]] | Ints


def bond_graph(n_atoms: int, bonds: Pairs) -> networkx.Graph:
    """Undirected graph of atoms 0 to n_atoms - 1 and bonds (pairs of atom indices); neighbours come in index order."""
    graph = networkx.Graph()
    graph.add_nodes_from(range(n_atoms))
    graph.add_edges_from(sorted({(min(int(i), int(j)), max(int(i), int(j))) for i, j in bonds}))
    return graph


def neighbour_lists(n_atoms: int, bonds: Pairs) -> list[list[int]]:
    """Bonded neighbours of every atom, sorted, from pairs of atom indices."""
    graph = bond_graph(n_atoms, bonds)
    return [sorted(graph[i]) for i in range(n_atoms)]


def components(n_atoms: int, bonds: Pairs) -> list[list[int]]:
    """Atoms of each connected part of the bond graph, each sorted, in the order of their first atoms."""
    return sorted(sorted(part) for part in networkx.connected_components(bond_graph(n_atoms, bonds)))


def spanning_tree(n_atoms: int, bonds: Pairs, root: int = 0) -> list[tuple[int, int]]:
    """Breadth-first tree of the part that holds `root`: (child, parent) pairs, parents first."""
    return [(child, parent) for parent, child in networkx.bfs_edges(bond_graph(n_atoms, bonds), root)]


def separations(n_atoms: int, bonds: Pairs, longest: int) -> Ints:
    """Bond-graph distance of all pairs of atoms, [atoms, atoms]; `longest` where it is that, longer or infinite."""
    found = np.full((n_atoms, n_atoms), longest, dtype=np.int64)
    for i, lengths in networkx.all_pairs_shortest_path_length(bond_graph(n_atoms, bonds), cutoff=longest - 1):
        found[i, list(lengths)] = list(lengths.values())
    return found


def eccentricity(n_atoms: int, bonds: Pairs, atom: int) -> int:
    """Bonds between an atom and the atom of its part that is farthest from it."""
    return int(max(networkx.single_source_shortest_path_length(bond_graph(n_atoms, bonds), atom).values()))


def equivalence_classes(labels: Sequence[Hashable], bonds: Pairs) -> list[int]:
    """Class of every atom by colour refinement of the bond graph (Morgan, J. Chem. Doc. 5, 107, 1965), from 0.

    It stops when a round splits no class; networkx's Weisfeiler–Lehman hashes take a fixed number of rounds.
    """
    neighbours = neighbour_lists(len(labels), bonds)
    colours = _ranks(labels)
    while True:
        refined = _ranks([(colours[i], tuple(sorted(colours[j] for j in near))) for i, near in enumerate(neighbours)])
        if len(set(refined)) == len(set(colours)):
            return refined
        colours = refined


def _ranks(keys: Sequence[Any]) -> list[int]:
    order = {key: rank for rank, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys]


def within_two_bonds(n_atoms: int, bonds: Pairs, atoms: Ints) -> NDArray[np.bool_]:
    """Whether pairs of the given atoms are the same or at most two bonds apart, [chosen, chosen]."""
    linked = np.eye(len(atoms), dtype=bool)
    index = {int(atom): i for i, atom in enumerate(atoms)}
    for j, near in enumerate(neighbour_lists(n_atoms, bonds)):
        shell = [index[i] for i in (j, *near) if i in index]
        linked[np.ix_(shell, shell)] = True
    return linked


def make_whole(
    positions: Doubles, tree: Iterable[tuple[int, int]], box: Doubles, periodic: Sequence[bool] = (True, True, True)
) -> Doubles:
    """A copy of positions [..., atoms, 3] in nm with every child at the image nearest its parent; `box` [..., 3, 3]."""
    x, inverse, along = positions.copy(), np.linalg.inv(box), np.asarray(periodic)
    for child, parent in tree:
        step = (x[..., child, :] - x[..., parent, :])[..., None, :]
        x[..., child, :] -= ((np.round(step @ inverse) * along) @ box)[..., 0, :]
    return x


_PAIRS = 2_000_000  # distances at a time


def nearest_steps(positions: Floats, first: Ints, second: Ints, cells: Floats | None = None) -> tuple[Doubles, Doubles]:
    """Vectors [frames, 3] by which to move atoms `second` of frames [frames, atoms, 3] in nm to the image of a cell
    [frames, 3, 3] (none: 0) that brings them nearest to atoms `first`, and how near their nearest atoms then are.
    """
    moves, distances = np.zeros((len(positions), 3)), np.zeros(len(positions))
    block = max(1, _PAIRS // (len(first) * len(second)))
    for start in range(0, len(positions), block):
        frames = slice(start, start + block)
        x = np.asarray(positions[frames], dtype=np.float64)
        step = (x[:, second, None] - x[:, None, first]).reshape(len(x), -1, 3)
        move = np.zeros_like(step)
        if cells is not None:
            for axis in (2, 1, 0):  # the third vector of a triclinic box leans over the others
                vectors = np.asarray(cells[frames], dtype=np.float64)[:, None, axis]
                move -= np.rint((step + move)[..., axis] / vectors[..., axis])[..., None] * vectors
        square = np.square(step + move).sum(axis=2)
        nearest = square.argmin(axis=1)
        rows = np.arange(len(x))
        moves[frames], distances[frames] = move[rows, nearest], np.sqrt(square[rows, nearest])
    return moves, distances
