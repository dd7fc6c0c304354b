"""The sparse path of the EGNN encoder on torch-geometric: the same weights over an edge list."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch_geometric.data import Batch, Data
from torch_geometric.nn import MessagePassing

from latentmd.encoders.egnn import SEPARATION_SIZE, EGNNEncoder, EGNNLayer, radial_features


class _SparseRound(MessagePassing):  # type: ignore[misc]
    """One `EGNNLayer` over edges (sender j → receiver i)."""

    def __init__(self, layer: EGNNLayer) -> None:
        super().__init__(aggr="sum", flow="source_to_target")
        self.layer = layer

    def forward(
        self, h: Tensor, edge_index: Tensor, edge: Tensor, direction: Tensor, envelope: Tensor | None
    ) -> Tensor:
        receiver, sender = self.layer.receiver(h), self.layer.sender(h)
        scale = envelope if envelope is not None else torch.ones_like(direction[:, :1])
        out = self.propagate(edge_index, receiver=receiver, sender=sender, edge=edge, direction=direction, scale=scale)
        width = h.shape[-1]
        own = self.layer.message(receiver, sender, _self_edge(h))
        return self.layer.update(h, out[:, :width] + own, out[:, width:].reshape(h.shape[0], -1, 3))

    def message(self, receiver_i: Tensor, sender_j: Tensor, edge: Tensor, direction: Tensor, scale: Tensor) -> Tensor:
        m = self.layer.message(receiver_i, sender_j, edge) * scale
        return torch.cat([m, (self.layer.weight(m).unsqueeze(-1) * direction.unsqueeze(1)).flatten(1)], dim=-1)


def _self_edge(h: Tensor) -> Tensor:
    """Edge features of the term j = i: distance 1 nm, bond-graph distance 0."""
    separation = nn.functional.one_hot(torch.zeros(1, dtype=torch.long, device=h.device), SEPARATION_SIZE)
    return torch.cat([radial_features(torch.ones_like(h[:1, 0])), separation.to(h.dtype)], dim=-1)


class SparseEGNN(nn.Module):
    """An `EGNNEncoder` over torch-geometric batches: many or large molecules, cutoffs, periodic boxes.

    The batch carries `pos` [atoms, 3] nm, `x` [atoms, F] long, `edge_index` [2, edges], `edge_separation` [edges],
    `shift` [edges, 3] nm (minimum image) and `token` [atoms], numbered through the batch.
    """

    def __init__(self, encoder: EGNNEncoder) -> None:
        super().__init__()
        self.encoder = encoder
        self.rounds = nn.ModuleList([_SparseRound(layer) for layer in encoder.layers])  # type: ignore[arg-type]

    def atoms(self, obs: Data | Batch) -> Tensor:
        """Per-atom features [atoms in batch, width]."""
        sender, receiver = obs.edge_index
        displacement = obs.pos[receiver] - obs.pos[sender] + obs.shift
        distance = displacement.norm(dim=-1)
        one_hot = nn.functional.one_hot(obs.edge_separation, SEPARATION_SIZE).to(obs.pos.dtype)
        edge = torch.cat([radial_features(distance), one_hot], dim=-1)
        direction = displacement / distance.unsqueeze(-1)
        envelope = self.encoder.envelope(distance)
        h = self.encoder.embed(obs.x)
        for layer in self.rounds:
            h = layer(h, obs.edge_index, edge, direction, envelope)
        return h

    def forward(self, obs: Data | Batch) -> Tensor:
        """Latent tokens [tokens in batch, dim], in the order of `token`."""
        n_tokens = int(obs.token.max()) + 1
        return self.encoder.pool(self.atoms(obs).unsqueeze(0), obs.token, n_tokens)[0]
