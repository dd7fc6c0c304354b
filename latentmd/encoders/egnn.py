"""SO(3)-invariant message-passing encoder of molecules and particles (EGNN type; Satorras et al. 2021)."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import mlp
from latentmd.molecule.geometry import minimum_image

RADIAL_SIZE = 20
SEPARATION_SIZE = 5  # bond-graph distance 0, 1, 2, 3, further


def radial_features(distance: Tensor, size: int = RADIAL_SIZE) -> Tensor:
    """Gaussians in log distance, [...] nm → [..., size]; centres from 0.09 to 1.5 nm, as wide as they are apart."""
    centres = torch.linspace(-2.408, 0.405, size, dtype=distance.dtype, device=distance.device)
    width = 2.813 / (size - 1)
    return torch.exp(-0.5 * ((torch.log(distance).unsqueeze(-1) - centres) / width) ** 2)


def vector_invariants(vectors: Tensor) -> Tensor:
    """Scalars and pseudo-scalars of vector channels, [..., V, 3] → [..., V (V + 1) / 2 + V].

    All dot products, and the signed volumes v_a · (v_b × v_c) of V neighbouring triples. The signed volumes change
    sign under a reflection: they make the encoder SO(3)- and not O(3)-invariant, so mirror images differ.
    """
    channels = vectors.shape[-2]
    gram = vectors @ vectors.transpose(-1, -2)
    upper = torch.triu_indices(channels, channels, device=vectors.device)
    normals = torch.cross(torch.roll(vectors, [1], [-2]), torch.roll(vectors, [2], [-2]), dim=-1)
    # The method: torch-geometric replaces torch.index_select by a function that cannot be scripted.
    products = gram.flatten(-2).index_select(-1, upper[0] * channels + upper[1])
    return torch.cat([products, (vectors * normals).sum(-1)], dim=-1)


class EGNNLayer(nn.Module):
    """One round of messages; the dense and the sparse path both call `message` and `update` with the same weights.

    m_ij = f_ij silu(A h_i + B h_j + C e_ij);  v_i = Σ_j W m_ij (x_i − x_j)/|x_i − x_j|;
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
        """Unscaled messages [..., width] from the projected ends and the raw edge features.

        Args:
            receiver, sender: projected features of the two ends [..., width].
            edge: features of the edge [..., edge features].
        """
        return nn.functional.silu(self.edge(edge) + receiver + sender)

    def update(self, h: Tensor, messages: Tensor, vectors: Tensor) -> Tensor:
        """New atom features from the summed messages [..., width] and vectors [..., V, 3].

        Args:
            h: atom features [..., width].
            messages: summed over neighbours [..., width].
            vectors: summed over neighbours [..., vectors, 3].
        """
        invariants = self.norm_invariant(vector_invariants(vectors))
        inputs = torch.cat([self.norm_atom(h), self.norm_message(messages), invariants], dim=-1)
        out: Tensor = h + self.change(inputs)
        return out

    def forward(self, h: Tensor, edge: Tensor, direction: Tensor, envelope: Tensor | None) -> Tensor:
        """Dense path: h [B, N, H], edge [B, N, N, E], direction [B, N, N, 3], envelope [B, N, N, 1] or None.

        Args:
            h: atom features [batch, atoms, width].
            edge: edge features [batch, atoms, atoms, edge features].
            direction: unit vectors [batch, atoms, atoms, 3].
            envelope: weight of each edge [batch, atoms, atoms, 1]; 1 everywhere where it is None.
        """
        m = self.message(self.receiver(h).unsqueeze(2), self.sender(h).unsqueeze(1), edge)
        if envelope is not None:
            m = m * envelope
        vectors = self.weight(m).transpose(-1, -2) @ direction
        return self.update(h, m.sum(dim=2), vectors)


class EGNNEncoder(nn.Module):
    """Positions of a molecule → one latent token per residue.

    Atoms are known by chemistry (element, residue type, site, degree) and by bond-graph distance, never by index, so
    equivalent hydrogens get equal treatment and relabelling them leaves the latent unchanged.

    Args:
        feature_sizes: vocabulary size of each atom feature.
        dim: size of a token.
        width: hidden width.
        depth: message-passing rounds.
        vectors: vector channels per atom.
        cutoff: nm; 0 for all pairs.
    """

    def __init__(
        self,
        feature_sizes: tuple[int, ...],
        dim: int = 16,
        width: int = 48,
        depth: int = 3,
        vectors: int = 6,
        cutoff: float = 0.0,
    ) -> None:
        super().__init__()
        self.cutoff = float(cutoff)
        self.dim = dim
        self.width = width
        self.separations = SEPARATION_SIZE
        self.embeddings = nn.ModuleList([nn.Embedding(size, width) for size in feature_sizes])
        self.layers = nn.ModuleList([EGNNLayer(width, vectors) for _ in range(depth)])
        self.readout = mlp([width, width, width])
        self.norm = nn.LayerNorm(width)
        self.project = mlp([width, 2 * width, dim])

    def embed(self, features: Tensor) -> Tensor:
        """Sum of the embeddings of the chemistry features, [..., F] long → [..., H]."""
        h = torch.zeros(features.shape[:-1] + (self.width,), device=features.device)  # noqa: RUF005 (scripts)
        for i, embedding in enumerate(self.embeddings):
            h = h + embedding(features[..., i])
        return h

    def envelope(self, distance: Tensor) -> Tensor | None:
        """Cosine cutoff that brings messages smoothly to zero, [...] nm → [..., 1]; None without a cutoff."""
        if self.cutoff <= 0:
            return None
        inside = (distance / self.cutoff).clamp(max=1.0)
        return (0.5 * (torch.cos(torch.pi * inside) + 1)).unsqueeze(-1)

    def atoms(self, positions: Tensor, features: Tensor, separation: Tensor, box: Tensor | None = None) -> Tensor:
        """Per-atom features before pooling, by the dense path.

        Args:
            positions: [batch, atoms, 3] nm.
            features: [atoms, F] long.
            separation: [atoms, atoms] long, bond-graph distance clipped at 4.
            box: [batch, 3, 3] nm for the minimum image, or None.

        Returns:
            [batch, atoms, width].
        """
        displacement = positions.unsqueeze(2) - positions.unsqueeze(1)
        if box is not None:
            displacement = minimum_image(displacement, box)
        same = torch.eye(positions.shape[1], dtype=positions.dtype, device=positions.device)
        distance = torch.sqrt((displacement * displacement).sum(-1) + same)
        one_hot = nn.functional.one_hot(separation, self.separations).to(positions.dtype)
        edge = torch.cat(
            [radial_features(distance), one_hot.unsqueeze(0).expand(positions.shape[0], -1, -1, -1)], dim=-1
        )
        envelope = self.envelope(distance - same)
        direction = displacement / distance.unsqueeze(-1)
        h = self.embed(features).unsqueeze(0).expand(positions.shape[0], -1, -1)
        for layer in self.layers:
            h = layer(h, edge, direction, envelope)
        return h

    def pool(self, h: Tensor, tokens: Tensor, n_tokens: int) -> Tensor:
        """Sum of atom read-outs per token, [batch, atoms, width] → [batch, tokens, dim].

        Args:
            h: atom features [batch, atoms, width].
            tokens: token of each atom [atoms], long.
            n_tokens: number of tokens.
        """
        pooled = torch.zeros(h.shape[0], n_tokens, self.width, dtype=h.dtype, device=h.device)
        pooled = pooled.index_add(1, tokens, self.readout(h).to(h.dtype))  # a narrower type under autocast
        out: Tensor = self.project(self.norm(pooled))
        return out

    def forward(
        self,
        positions: Tensor,
        features: Tensor,
        separation: Tensor,
        tokens: Tensor,
        n_tokens: int,
        box: Tensor | None = None,
    ) -> Tensor:
        """Latent tokens [batch, tokens, dim] of positions [batch, atoms, 3] nm (dense path).

        Args:
            positions: shape [batch, atoms, 3], nm.
            features: of each atom [atoms, features].
            separation: bonds between each two atoms [atoms, atoms], capped.
            tokens: token of each atom [atoms], long.
            n_tokens: number of tokens.
            box: edges of a rectangular periodic box [3], nm; no box where it is None.
        """
        return self.pool(self.atoms(positions, features, separation, box), tokens, n_tokens)


class MoleculeEncoder(nn.Module):
    """An `EGNNEncoder` bound to one molecule: the observation is the positions alone, [batch, atoms, 3] nm.

    Args:
        encoder: the shared network.
        features: of each atom [atoms, features].
        separation: bonds between each two atoms [atoms, atoms], capped.
        tokens: token of each atom [atoms], long.
    """

    features: Tensor
    separation: Tensor
    tokens: Tensor

    def __init__(self, encoder: EGNNEncoder, features: Tensor, separation: Tensor, tokens: Tensor) -> None:
        super().__init__()
        self.encoder = encoder
        self.register_buffer("features", features)
        self.register_buffer("separation", separation)
        self.register_buffer("tokens", tokens)
        self.n_tokens = int(tokens.max()) + 1

    def forward(self, obs: Tensor) -> Tensor:
        """Latent tokens [batch, tokens, dim] of positions [batch, atoms, 3] nm."""
        out: Tensor = self.encoder(obs, self.features, self.separation, self.tokens, self.n_tokens)
        return out
