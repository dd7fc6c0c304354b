"""Transformer over a short chain of tokens, with relative positions and a condition (adaLN)."""

import torch
from torch import Tensor, nn

from latentmd.core.layers import zeroed

MAX_OFFSET = 8  # relative positions are told apart up to this many tokens


class ChainBlock(nn.Module):
    """Self-attention and a perceptron, both modulated by a condition (adaLN-zero; Peebles & Xie 2023), with a learned
    bias for each relative position (T5; Raffel et al. 2020). In a causal block a token sees itself and earlier ones
    only.
    """

    def __init__(self, width: int, condition: int, heads: int, causal: bool, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.heads, self.causal, self.furthest = heads, causal, MAX_OFFSET
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.norm_change = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zeroed(nn.Linear(condition, 6 * width))
        self.project = nn.Linear(width, 3 * width)
        self.collect = nn.Linear(width, width)
        self.bias = nn.Parameter(torch.zeros(heads, 2 * MAX_OFFSET + 1))
        self.change = nn.Sequential(nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width))

    def attend(self, x: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
        """Attention of x to tokens before, of which keys and values [batch, 2, heads, before, size] come, and to x."""
        batch, tokens, width = x.shape
        size = width // self.heads
        parts = self.project(x).reshape(batch, tokens, 3, self.heads, size).permute(2, 0, 3, 1, 4)
        known = torch.cat([earlier, torch.stack([parts[1], parts[2]], dim=1)], dim=3)
        start = earlier.shape[3]
        place = torch.arange(start + tokens, device=x.device)
        offset = place.unsqueeze(0) - place[start:].unsqueeze(1)
        bias = self.bias[:, offset.clamp(-self.furthest, self.furthest) + self.furthest]
        if self.causal:
            bias = bias.masked_fill(offset > 0, -1e9)
        weights = torch.softmax(parts[0] @ known[:, 0].transpose(-1, -2) / size**0.5 + bias, dim=-1)
        mixed = (weights.to(known.dtype) @ known[:, 1]).transpose(1, 2).reshape(batch, tokens, width)
        return self.collect(mixed), known

    def forward(self, h: Tensor, condition: Tensor, earlier: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens h [batch, tokens, width] under a condition [batch, condition]; `earlier` as for `attend`."""
        a, b, c, d, e, f = self.modulation(condition).unsqueeze(1).chunk(6, dim=-1)
        mixed, known = self.attend(torch.addcmul(b, self.norm_attention(h), 1 + c), earlier)
        h = h + (1 + a) * self.dropout(mixed)
        out: Tensor = h + (1 + d) * self.dropout(self.change(torch.addcmul(e, self.norm_change(h), 1 + f)))
        return out, known


class ChainTransformer(nn.Module):
    """A stack of `ChainBlock`."""

    def __init__(
        self, width: int, condition: int, depth: int, heads: int = 4, causal: bool = False, dropout: float = 0.0
    ) -> None:
        super().__init__()
        self.heads = heads
        self.blocks = nn.ModuleList([ChainBlock(width, condition, heads, causal, dropout) for _ in range(depth)])

    def forward(self, h: Tensor, condition: Tensor) -> Tensor:
        """Tokens h [batch, tokens, width] and a condition [batch, condition] → [batch, tokens, width]."""
        nothing = self.nothing(h)
        for block in self.blocks:
            h, _ = block(h, condition, nothing)
        return h

    @torch.jit.export
    def nothing(self, h: Tensor) -> Tensor:
        """Keys and values of no tokens, [batch, 2, heads, 0, size]."""
        return torch.zeros(h.shape[0], 2, self.heads, 0, h.shape[2] // self.heads, dtype=h.dtype, device=h.device)

    @torch.jit.export
    def extend(self, h: Tensor, condition: Tensor, earlier: list[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """The next tokens [batch, new, width] of a causal stack, given what each block knows of earlier ones."""
        known: list[Tensor] = []
        for i, block in enumerate(self.blocks):
            h, after = block(h, condition, earlier[i])
            known.append(after)
        return h, known


class TypeEmbedding(nn.Module):
    """Sum of embeddings of what a token is, [..., kinds] long → [..., width]."""

    def __init__(self, sizes: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.tables = nn.ModuleList([nn.Embedding(size, width) for size in sizes])

    def forward(self, types: Tensor) -> Tensor:
        """Embeddings of types [..., kinds] long."""
        out = torch.zeros(types.shape[:-1] + (1,), device=types.device)  # noqa: RUF005 (scripts)
        for i, table in enumerate(self.tables):
            out = out + table(types[..., i])
        return out
