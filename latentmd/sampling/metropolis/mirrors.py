"""Monte Carlo moves of rings that are not flat and of amines: a mirror image of a part, every hand kept.

Some atoms are reflected through the plane of three points that stay, and what hangs on them follows as rigid bodies:

- *ring flip*: the atoms of a ring are reflected, chair to chair. What hangs on a ring atom with four neighbours turns
  with the frame of this atom and its neighbours in the ring, so that hands, bond lengths and angles stay as they are,
  and what was axial is equatorial. A neighbour of a flat atom or an amine is reflected with the ring.
- *inversion*: the smallest branch of an amine passes through the plane of its nitrogen and the other two neighbours.

Each is its own inverse. A reflection through a plane of points that stay, and rotations by frames that do not depend on
what they turn, keep the volume element, so that min(1, exp(-(U' - U) / kT)) accepts; no length and no angle between
constrained bonds changes, nor does the determinant of constraints. Compare the reflections of Goto and Osawa, J. Am.
Chem. Soc. 111, 8950, 1989, which search conformers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import networkx
import numpy as np

from latentmd.arrays import Doubles, Floats, Ints
from latentmd.molecule.bonds import bond_graph, equivalence_classes, neighbour_lists


@dataclass(frozen=True)
class Mirror:
    """A part of a molecule that is reflected through the plane of three atoms; the image of an image is the original.

    Bodies are three atoms, the second of which is next to the body, whose frame it follows, and its own atoms.
    """

    kind: Literal["ring-flip", "inversion"]
    atoms: tuple[int, ...]  # the ring or the nitrogen
    plane: tuple[int, int, int]
    mirrored: Ints
    bodies: tuple[tuple[tuple[int, int, int], Ints], ...]
    torsions: tuple[int, ...] = ()  # none of those that other moves turn

    @property
    def name(self) -> str:
        """Kind and atoms, numbered from 1, such as "ring-flip 1 2 3 4 5 6"."""
        return " ".join([self.kind, *(str(i + 1) for i in self.atoms)])

    def propose(self, positions: Floats, groups: Ints, rng: np.random.Generator) -> tuple[Doubles, Doubles, Doubles]:
        """Propose structures in place of positions (replicas, atoms, 3) in nm; see `blocks.BlockMove.propose`."""
        old = np.asarray(positions, dtype=np.float64)
        new, corners = old.copy(), old[:, self.plane]
        origin, normal = corners[:, 1:2], _frames(corners)[:, :, 2]
        away = np.einsum("rai,ri->ra", old[:, self.mirrored] - origin, normal)
        new[:, self.mirrored] -= 2 * away[:, :, None] * normal[:, None]
        for triple, atoms in self.bodies:
            before, after = old[:, triple], new[:, triple]
            turn = _frames(before) @ np.swapaxes(_frames(after), 1, 2)  # of row vectors
            new[:, atoms] = after[:, 1:2] + (old[:, atoms] - before[:, 1:2]) @ turn
        return new, np.zeros(len(old)), np.full((len(old), 1), np.pi)


def _frames(triples: Floats) -> Doubles:
    """Unit vectors (n, 3, 3) in columns: along the first bond of three atoms (n, 3, 3), in their plane, and normal."""
    along, other = triples[:, 0] - triples[:, 1], triples[:, 2] - triples[:, 1]
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    normal = np.cross(along, other)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    return np.stack([along, np.cross(normal, along), normal], axis=2)


def mirrors_of(symbols: list[str], bonds: Ints) -> list[Mirror]:
    """Flips of all rings that are not flat and have no bridgehead with four neighbours, and inversions of amines."""
    graph = bond_graph(len(symbols), bonds)
    blocks = [sorted(block) for block in networkx.biconnected_components(graph) if len(block) > 3]
    flips = [found for block in sorted(blocks) if (found := _flip(symbols, graph, block))]
    kinds = equivalence_classes(symbols, bonds.tolist())
    inversions = [found for i in amines(symbols, bonds) if (found := _inversion(kinds, graph, i))]
    return flips + inversions


def amines(symbols: list[str], bonds: Ints) -> list[int]:
    """Nitrogens with three neighbours, at most one a hydrogen and none of them flat."""
    around = neighbour_lists(len(symbols), bonds)
    return [
        i
        for i, near in enumerate(around)
        if symbols[i] == "N" and len(near) == 3 and sum(symbols[j] == "H" for j in near) <= 1
        if not any(len(around[j]) in (2, 3) for j in near)
    ]


def _flip(symbols: list[str], graph: networkx.Graph, block: list[int]) -> Mirror | None:
    ring = graph.subgraph(block)
    if sum(graph.degree(i) == 4 for i in block) < 2 or any(graph.degree(i) > 3 and ring.degree(i) > 2 for i in block):
        return None
    rest = graph.copy()
    rest.remove_edges_from(ring.edges)
    middle = next(i for i in block if ring.degree(i) == 2)
    first, last = sorted(ring[middle])
    plane, mirrored, bodies = (first, middle, last), [i for i in block if i not in (first, middle, last)], []
    for centre in block:
        branch = networkx.node_connected_component(rest, centre) - {centre}
        one, *_, other = sorted(ring[centre])
        if len(rest[centre]) == 1 and symbols[centre] in ("B", "C", "N"):  # flat, or an amine, which need keep no hand
            (near,) = rest[centre]
            mirrored.append(near)
            branch.remove(near)
            other = near
        if branch:
            bodies.append(((one, centre, other), np.array(sorted(branch))))
    return Mirror("ring-flip", tuple(block), plane, np.array(mirrored), tuple(bodies))


def _inversion(kinds: list[int], graph: networkx.Graph, nitrogen: int) -> Mirror | None:
    """The smallest branch of an amine through the plane of the others.

    None where all three are in rings, and where two branches are alike: turns about the third bond exchange them.
    """
    rest = graph.copy()
    near = sorted(rest[nitrogen])
    rest.remove_node(nitrogen)
    branches = {i: networkx.node_connected_component(rest, i) for i in near}
    free = [i for i in near if sum(i in branch for branch in branches.values()) == 1]
    if not free or len(free) - len({kinds[i] for i in free}):
        return None
    small = min(free, key=lambda i: (len(branches[i]), i))
    one, other = (i for i in near if i != small)
    body = np.array(sorted(branches[small] - {small}), dtype=np.int64)
    bodies = (((one, nitrogen, small), body),) if len(body) else ()
    return Mirror("inversion", (nitrogen,), (one, nitrogen, other), np.array([small]), bodies)
