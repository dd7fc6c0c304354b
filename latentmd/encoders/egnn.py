"""SO(3)-invariant message-passing encoder of molecules, over all pairs of atoms (EGNN type; Satorras et al. 2021)."""

import torch
from torch import Tensor, nn

from latentmd.core.attention import TypeEmbedding
from latentmd.core.layers import mlp

RADIAL_SIZE = 20
SEPARATION_SIZE = 5  # bond-graph distance 0, 1, 2, 3, further


def radial_features(distance: Tensor, size: int = RADIAL_SIZE) -> Tensor:
    """Gaussians in log distance, [...] nm → [..., size]; centres from 0.09 to 1.5 nm, as wide as they are apart."""
    centres = torch.linspace(-2.408, 0.405, size, dtype=distance.dtype, device=distance.device)
    width = 2.813 / (size - 1)
    return torch.exp(-0.5 * ((torch.log(distance).unsqueeze(-1) - centres) / width) ** 2)


def vector_invariants(vectors: Tensor) -> Tensor:
    """Scalars and pseudo-scalars of vector channels, [..., V, 3] → [..., V (V + 1) / 2 + V]: all dot products, and the
    signed volumes v_a · (v_b × v_c) of V neighbouring triples, which tell mirror images apart.
    """
    channels = vectors.shape[-2]
    gram = vectors @ vectors.transpose(-1, -2)
    upper = torch.triu_indices(channels, channels, device=vectors.device)
    normals = torch.cross(torch.roll(vectors, [1], [-2]), torch.roll(vectors, [2], [-2]), dim=-1)
    # The method: torch-geometric replaces torch.index_select by a function that cannot be scripted.
    products = gram.flatten(-2).index_select(-1, upper[0] * channels + upper[1])
    return torch.cat([products, (vectors * normals).sum(-1)], dim=-1)


class EGNNLayer(nn.Module):
    """One round of messages, over all pairs of atoms here and over neighbours in `latentmd.encoders.graph`.

    m_ij = silu(A h_i + B h_j + C e_ij);  v_i = Σ_j W m_ij (x_i − x_j)/|x_i − x_j|;
    h_i ← h_i + φ(h_i, Σ_j m_ij, inv(v_i)).
    One hidden layer per edge: what follows it is linear and therefore applied once per atom, after the sum. The sum
    includes j = i, as an edge of length 1 nm, bond-graph distance 0 and no direction.
    """

    def __init__(self, width: int, vectors: int) -> None:
        super().__init__()
        self.receiver = nn.Linear(width, width)
        self.sender = nn.Linear(width, width, bias=False)
        self.edge = nn.Linear(RADIAL_SIZE + SEPARATION_SIZE, width, bias=False)
        self.weight = nn.Linear(width, vectors, bias=False)
        invariants = vectors * (vectors + 1) // 2 + vectors
        self.norm_atom, self.norm_message = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_invariant = nn.LayerNorm(invariants)
        self.change = mlp([2 * width + invariants, width, width])

    def message(self, receiver: Tensor, sender: Tensor, edge: Tensor) -> Tensor:
        """Unscaled messages [..., width] from the projected ends and the raw edge features."""
        return nn.functional.silu(self.edge(edge) + receiver + sender)

    def update(self, h: Tensor, messages: Tensor, vectors: Tensor) -> Tensor:
        """New atom features from the summed messages [..., width] and vectors [..., V, 3]."""
        invariants = self.norm_invariant(vector_invariants(vectors))
        out: Tensor = h + self.change(torch.cat([self.norm_atom(h), self.norm_message(messages), invariants], dim=-1))
        return out

    def forward(self, h: Tensor, edge: Tensor, direction: Tensor) -> Tensor:
        """New features of atoms h [batch, atoms, width], from features and directions of all pairs."""
        m = self.message(self.receiver(h).unsqueeze(2), self.sender(h).unsqueeze(1), edge)
        return self.update(h, m.sum(dim=2), self.weight(m).transpose(-1, -2) @ direction)


class EGNNEncoder(nn.Module):
    """Positions of a molecule → one latent token per residue. Atoms are known by chemistry (element, residue type,
    site, degree) and bond-graph distance, never by index, so that relabelling equivalent hydrogens changes nothing.
    """

    def __init__(
        self, feature_sizes: tuple[int, ...], dim: int = 16, width: int = 48, depth: int = 3, vectors: int = 6
    ) -> None:
        super().__init__()
        self.dim, self.width, self.separations = dim, width, SEPARATION_SIZE
        self.embed = TypeEmbedding(feature_sizes, width)
        self.layers = nn.ModuleList([EGNNLayer(width, vectors) for _ in range(depth)])
        self.readout = mlp([width, width, width])
        self.norm = nn.LayerNorm(width)
        self.project = mlp([width, 2 * width, dim])

    def atoms(self, positions: Tensor, features: Tensor, separation: Tensor) -> Tensor:
        """Atom features before pooling, of positions in nm, chemistry [atoms, features] and distances in bonds."""
        displacement = positions.unsqueeze(2) - positions.unsqueeze(1)
        same = torch.eye(positions.shape[1], dtype=positions.dtype, device=positions.device)
        distance = torch.sqrt((displacement * displacement).sum(-1) + same)
        one_hot = nn.functional.one_hot(separation, self.separations).to(positions.dtype)
        edge = torch.cat([radial_features(distance), one_hot.expand(positions.shape[0], -1, -1, -1)], dim=-1)
        direction = displacement / distance.unsqueeze(-1)
        h: Tensor = self.embed(features).unsqueeze(0).expand(positions.shape[0], -1, -1)
        for layer in self.layers:
            h = layer(h, edge, direction)
        return h

    def pool(self, h: Tensor, tokens: Tensor, n_tokens: int) -> Tensor:
        """Sum of atom read-outs per token, [batch, atoms, width] → [batch, tokens, dim]."""
        pooled = torch.zeros(h.shape[0], n_tokens, self.width, dtype=h.dtype, device=h.device)
        pooled = pooled.index_add(1, tokens, self.readout(h).to(h.dtype))  # a narrower type under autocast
        out: Tensor = self.project(self.norm(pooled))
        return out


class AtomEncoder(nn.Module):
    """An encoder of one molecule: positions [batch, atoms, 3] nm → tokens, with its atoms' features on the way."""

    n_tokens: int
    width: int

    def atoms(self, obs: Tensor) -> Tensor:
        """Atom features [batch, atoms, width] of positions [batch, atoms, 3] nm."""
        raise NotImplementedError


class MoleculeEncoder(AtomEncoder):
    """An `EGNNEncoder` bound to one molecule: the observation is the positions alone, [batch, atoms, 3] nm."""

    def __init__(self, encoder: EGNNEncoder, features: Tensor, separation: Tensor, tokens: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.features = nn.Buffer(features)
        self.separation = nn.Buffer(separation)
        self.tokens = nn.Buffer(tokens)
        self.n_tokens, self.width = int(tokens.max()) + 1, encoder.width

    def atoms(self, obs: Tensor) -> Tensor:
        """Atom features [batch, atoms, width] of positions [batch, atoms, 3] nm."""
        return self.encoder.atoms(obs, self.features, self.separation)

    def forward(self, obs: Tensor) -> Tensor:
        """Latent tokens [batch, tokens, dim] of positions [batch, atoms, 3] nm."""
        return self.encoder.pool(self.atoms(obs), self.tokens, self.n_tokens)
