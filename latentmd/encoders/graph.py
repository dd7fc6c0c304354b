"""Encoder of molecules of any size: messages within a cutoff over a neighbour list, memory linear in the atoms."""

import warnings
from collections.abc import Iterable

import networkx
import torch
from torch import Tensor, nn

from latentmd.encoders.egnn import SEPARATION_SIZE, AtomEncoder, EGNNEncoder, EGNNLayer, radial_features
from latentmd.molecule.bonds import bond_graph
from latentmd.molecule.chemistry import Topology, chemistry, residue_tokens
from latentmd.molecule.features import HYDROGEN, MAX_SEPARATION, atom_features

with warnings.catch_warnings():  # its modules script some functions, which PyTorch has deprecated
    warnings.filterwarnings("ignore", message=r"`torch\.jit\.", category=DeprecationWarning)
    from torch_geometric.data import Data
    from torch_geometric.nn import MessagePassing
    from torch_geometric.utils import scatter


class MoleculeData(Data):  # type: ignore[misc]
    """A molecule in a `torch_geometric` batch: `pos` in nm, `x` chemistry, `edge_index` pairs up to three bonds apart
    and `edge_attr` those bonds, `token` of each atom and `tokens` how many.
    """

    def __inc__(self, key: str, value: object, *args: object, **kwargs: object) -> int | Tensor:
        step: int | Tensor = self.tokens if key == "token" else super().__inc__(key, value, *args, **kwargs)
        return step


def molecule_data(topology: Topology, positions: Tensor | None = None) -> MoleculeData:
    """A molecule for `GraphEncoder`, alone or in a batch."""
    record = chemistry(topology)
    near = networkx.all_pairs_shortest_path_length(bond_graph(record.n_atoms, record.bonds), cutoff=MAX_SEPARATION - 1)
    rows = [(i, j, apart) for i, found in near for j, apart in sorted(found.items()) if i != j]
    pairs = torch.tensor(rows, dtype=torch.long).reshape(-1, 3).T
    token = torch.tensor(residue_tokens(record), dtype=torch.long)
    near_by, bonds, tokens = pairs[:2].contiguous(), pairs[2].contiguous(), int(token.max()) + 1
    return MoleculeData(atom_features(record), near_by, bonds, pos=positions, token=token, tokens=tokens)


def neighbours(positions: Tensor, molecule: Tensor, cutoff: float) -> Tensor:
    """Pairs (j, i), j ≠ i, of atoms [atoms, 3] nm of one molecule closer than a cutoff, by a list of cells as wide."""
    cell = torch.floor((positions.detach() - positions.detach().amin(0)) / cutoff).long() + 1
    size = cell.amax(0) + 2  # an empty cell on every side
    key = ((molecule * size[0] + cell[:, 0]) * size[1] + cell[:, 1]) * size[2] + cell[:, 2]
    order = torch.argsort(key)
    ordered, atoms = key[order], torch.arange(len(key), device=key.device)
    shift = torch.arange(-1, 2, device=key.device)
    shifts = torch.cartesian_prod(shift, shift, shift)
    pairs: list[Tensor] = []
    for offset in ((shifts[:, 0] * size[1] + shifts[:, 1]) * size[2] + shifts[:, 2]).unbind(0):
        first = torch.searchsorted(ordered, key + offset)
        count = torch.searchsorted(ordered, key + offset, right=True) - first
        i = torch.repeat_interleave(atoms, count)
        place = torch.arange(len(i), device=i.device) - torch.repeat_interleave(count.cumsum(0) - count, count)
        j = order[first[i] + place]
        near = (positions[i] - positions[j]).square().sum(-1) < cutoff * cutoff
        pairs.append(torch.stack([j, i])[:, near & (i != j)])
    return torch.cat(pairs, dim=1)


class GraphLayer(MessagePassing):  # type: ignore[misc]
    """The round of messages of an `EGNNLayer` over given pairs of atoms in place of all."""

    def __init__(self, layer: EGNNLayer, vectors: int) -> None:
        super().__init__(aggr="add", node_dim=0)
        self.layer, self.vectors = layer, vectors

    def forward(self, h: Tensor, pairs: Tensor, edge: Tensor, direction: Tensor, weight: Tensor) -> Tensor:
        """New atom features [atoms, width] from pairs (sender, receiver), with features, direction and envelope."""
        receiver, sender = self.layer.receiver(h), self.layer.sender(h)
        # propagate_type: (receiver: Tensor, sender: Tensor, edge: Tensor, direction: Tensor, weight: Tensor)
        total = self.propagate(pairs, receiver=receiver, sender=sender, edge=edge, direction=direction, weight=weight)
        messages, arrows = total[:, : h.shape[1]], total[:, h.shape[1] :]
        return self.layer.update(h, messages, arrows.reshape(h.shape[0], self.vectors, 3))

    def message(self, receiver_i: Tensor, sender_j: Tensor, edge: Tensor, direction: Tensor, weight: Tensor) -> Tensor:
        """Message and vectors of each pair in one row [pairs, width + 3 · vectors]."""
        m = self.layer.message(receiver_i, sender_j, edge) * weight
        arrows = self.layer.weight(m).unsqueeze(-1) * direction.unsqueeze(-2)
        return torch.cat([m, arrows.flatten(1)], dim=1)


class GraphEncoder(nn.Module):
    """Molecules of any sizes in one batch → a latent token for each residue, by the network of `EGNNEncoder` with
    messages weighed by ½ (cos(π r / cutoff) + 1), so that time and memory are linear in the atoms. Without `hydrogens`
    they get no messages, and send them to heavy atoms up to three bonds away: a third of the pairs, which still tell
    where they are. A `Batch` of `MoleculeData` goes in as
    `encoder(b.pos, b.batch, b.x, b.edge_index, b.edge_attr, b.token)`.
    """

    def __init__(self, network: EGNNEncoder, cutoff: float = 0.6, hydrogens: bool = True) -> None:
        super().__init__()
        self.silent = -1 if hydrogens else HYDROGEN
        self.cutoff, self.kinds, self.furthest = float(cutoff), SEPARATION_SIZE, MAX_SEPARATION
        self.embed, self.readout = network.embed, network.readout
        self.dim, self.width, self.norm, self.project = network.dim, network.width, network.norm, network.project
        layers: Iterable[EGNNLayer] = network.layers  # type: ignore[assignment]
        self.rounds = nn.ModuleList([GraphLayer(layer, int(layer.weight.weight.shape[0])) for layer in layers])

    def pairs(self, pos: Tensor, batch: Tensor, x: Tensor, edge_index: Tensor) -> Tensor:
        """Pairs (sender, receiver) of messages, an atom and itself among them; arguments as for `forward`."""
        heard = torch.nonzero(x[:, 0] != self.silent).flatten()
        near = heard[neighbours(pos[heard], batch[heard], self.cutoff)]
        silent = x[:, 0] == self.silent
        local = edge_index[:, silent[edge_index[0]] & ~silent[edge_index[1]]]
        return torch.cat([near, local, torch.stack([heard, heard])], dim=1)

    def atoms(self, pos: Tensor, batch: Tensor, x: Tensor, edge_index: Tensor, edge_attr: Tensor) -> Tensor:
        """Atom features [atoms, width] before pooling; arguments as for `forward`."""
        size = pos.shape[0]
        pairs = self.pairs(pos, batch, x, edge_index)
        arrow = pos[pairs[1]] - pos[pairs[0]]
        same = (pairs[0] == pairs[1]).to(pos.dtype)
        distance = torch.sqrt(arrow.square().sum(-1) + same)
        # Bonds between the two atoms of a pair: looked up among the pairs near in the bond graph, sorted by number.
        key, order = (edge_index[0] * size + edge_index[1]).sort()
        wanted = pairs[0] * size + pairs[1]
        place = torch.searchsorted(key, wanted).clamp(max=max(key.shape[0] - 1, 0))
        bonds = torch.full_like(wanted, self.furthest)
        if key.shape[0] > 0:
            bonds = torch.where(key[place] == wanted, edge_attr[order[place]], bonds)
        bonds = torch.where(same > 0, torch.zeros_like(bonds), bonds)
        edge = torch.cat([radial_features(distance), nn.functional.one_hot(bonds, self.kinds).to(pos.dtype)], dim=-1)
        weight = 0.5 * (torch.cos(torch.pi * (distance - same).clamp(max=self.cutoff) / self.cutoff) + 1)
        h: Tensor = self.embed(x)
        for layer in self.rounds:
            h = layer(h, pairs, edge, arrow / distance.unsqueeze(-1), weight.unsqueeze(-1))
        return h

    def pool(self, h: Tensor, token: Tensor) -> Tensor:
        """Sum of atom read-outs [atoms, width] per token → [tokens, dim]."""
        out: Tensor = self.project(self.norm(scatter(self.readout(h).to(h.dtype), token, dim=0, reduce="sum")))
        return out

    def forward(
        self, pos: Tensor, batch: Tensor, x: Tensor, edge_index: Tensor, edge_attr: Tensor, token: Tensor
    ) -> Tensor:
        """Tokens of all molecules; arguments as in `MoleculeData`, `batch` the number of an atom's molecule."""
        return self.pool(self.atoms(pos, batch, x, edge_index, edge_attr), token)


def _directions(positions: Tensor, quads: Tensor) -> Tensor:
    """Cosine and sine [batch, torsions, 2] of torsions [torsions, 4] of positions [batch, atoms, 3]."""
    b1, b2, b3 = [positions[:, quads[:, k + 1]] - positions[:, quads[:, k]] for k in range(3)]
    n1, n2 = torch.linalg.cross(b1, b2), torch.linalg.cross(b2, b3)
    sine = (b1 * n2).sum(-1) * torch.linalg.norm(b2, dim=-1)
    return nn.functional.normalize(torch.stack([(n1 * n2).sum(-1), sine], dim=-1), dim=-1)


def _places(positions: Tensor, quads: Tensor) -> Tensor:
    """Logarithm of the distance of the first two atoms in nm, and cosine of the angle of the first three, as above."""
    step, base = (
        positions[:, quads[:, 0]] - positions[:, quads[:, 1]],
        positions[:, quads[:, 2]] - positions[:, quads[:, 1]],
    )
    apart = torch.linalg.norm(step, dim=-1)
    return torch.stack([torch.log(apart), (step * base).sum(-1) / (apart * torch.linalg.norm(base, dim=-1))], dim=-1)


class GraphMoleculeEncoder(AtomEncoder):
    """A `GraphEncoder` bound to one molecule: the observation is the positions alone, [batch, atoms, 3] nm.

    Beside what the messages say, each token is told cosine and sine of its own torsions by a linear map: sums over
    atoms lose which way a long side chain is turned, and a decoder cannot give back what the latent does not hold.
    Of torsions that place a molecule beside another, which come last, it is told distance and angle as well.
    """

    def __init__(self, encoder: GraphEncoder, data: MoleculeData, quads: Tensor, placing: int = 0) -> None:
        """Bind an encoder to a molecule with torsions of atoms [torsions, 4], the last `placing` between molecules."""
        super().__init__()
        self.encoder, self.n_tokens, self.width = encoder, int(data.tokens), encoder.width
        self.first_placing = len(quads) - placing
        of = data.token[torch.cat([quads, quads[self.first_placing :]])[:, 2]]
        rows = [(of == t).nonzero()[:, 0] for t in range(self.n_tokens)]
        own = nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=len(of))
        self.torsions = nn.Parameter(torch.randn(self.n_tokens, 2 * own.shape[1], encoder.dim) / own.shape[1] ** 0.5)
        self.quads = nn.Buffer(quads)
        self.own = nn.Buffer(own)
        self.most = 4000  # atoms at a time: memory of larger arrays is given back after each use, and that is slow
        self.x, self.token = nn.Buffer(data.x), nn.Buffer(data.token)
        self.pairs, self.bonds = nn.Buffer(data.edge_index), nn.Buffer(data.edge_attr)

    def atoms(self, obs: Tensor) -> Tensor:
        """Atom features [batch, atoms, width] of positions [batch, atoms, 3] nm."""
        frames, size = obs.shape[0], obs.shape[1]
        frame = torch.arange(frames, device=obs.device)
        pairs = (self.pairs.unsqueeze(1) + size * frame.reshape(1, -1, 1)).reshape(2, -1)
        atoms, x, bonds = frame.repeat_interleave(size), self.x.repeat(frames, 1), self.bonds.repeat(frames)
        return self.encoder.atoms(obs.reshape(-1, 3), atoms, x, pairs, bonds).reshape(frames, size, self.width)

    def forward(self, obs: Tensor) -> Tensor:
        """Latent tokens [batch, tokens, dim] of positions [batch, atoms, 3] nm, a few frames at a time."""
        return torch.cat([self._together(part) for part in obs.split(max(1, self.most // obs.shape[1]))])

    def _together(self, obs: Tensor) -> Tensor:
        frame = torch.arange(obs.shape[0], device=obs.device).unsqueeze(1)
        token = (self.token.unsqueeze(0) + self.n_tokens * frame).flatten()
        out: Tensor = self.encoder.pool(self.atoms(obs).flatten(0, 1), token)
        placed = _places(obs, self.quads[self.first_placing :])
        turned = nn.functional.pad(torch.cat([_directions(obs, self.quads), placed], 1), (0, 0, 0, 1))[:, self.own]
        told = torch.einsum("btk,tkd->btd", turned.flatten(2), self.torsions)
        return out.reshape(obs.shape[0], self.n_tokens, -1) + told
