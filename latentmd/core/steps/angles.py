"""Stochastic step of a chain: torsions a lag later, drawn one after another along the chain, with exact likelihood."""

import math

import torch
from torch import Tensor, nn

from latentmd.core.attention import ChainTransformer, TypeEmbedding
from latentmd.core.layers import Lags

HARMONICS = 3  # of torsions that are read
_ORDER = 20  # highest harmonic of a density's logarithm
_CONDITION = 64  # size of the embedded lag
_GRID = 180  # points of the circle on which densities are normalised and sampled
NOW, EVER = 0.0, float("inf")  # lags: redraw the present torsions; forget them


def torsion_features(angles: Tensor, mask: Tensor, harmonics: int = 3) -> Tensor:
    """Cosines and sines of harmonics of torsions [...], and whether there is one, [..., 2 · harmonics + 1]."""
    weight = mask.unsqueeze(-1).to(angles.dtype).expand(angles.shape + (1,))  # noqa: RUF005 (scripts)
    order = torch.arange(1, harmonics + 1, dtype=angles.dtype, device=angles.device)
    phase = angles.unsqueeze(-1) * order
    return torch.cat([phase.cos() * weight, phase.sin() * weight, weight], dim=-1)


class CircularDensity(nn.Module):
    """Densities of torsions p(θ) ∝ exp Σ_m (a_m cos mθ + b_m sin mθ), m ≤ order (generalised von Mises)."""

    def __init__(self, order: int) -> None:
        super().__init__()
        self.order, self.points, self.turn = order, _GRID, 2 * math.pi
        grid = (torch.arange(_GRID) + 0.5) / _GRID * 2 * math.pi - math.pi
        self.register_buffer("grid", grid)
        self.register_buffer("waves", self.basis(grid).t().contiguous())

    grid: Tensor
    waves: Tensor

    def basis(self, angles: Tensor) -> Tensor:
        """cos mθ and sin mθ for m = 1 … order, [...] → [..., 2 · order]."""
        order = torch.arange(1, self.order + 1, dtype=angles.dtype, device=angles.device)
        phase = angles.unsqueeze(-1) * order
        return torch.cat([phase.cos(), phase.sin()], dim=-1)

    def log_density(self, coefficients: Tensor, angles: Tensor) -> Tensor:
        """ln p in nats per radian, [...], of angles [...] under densities of coefficients [..., 2 · order]."""
        norm = torch.logsumexp((coefficients @ self.waves).float(), dim=-1) + math.log(self.turn / self.points)
        return (coefficients * self.basis(angles)).sum(-1).float() - norm

    def draw(self, coefficients: Tensor, uniform: Tensor) -> Tensor:
        """Invert the distribution function, linear between grid points: coefficients [batch, 2 · order] → angles."""
        p = torch.softmax((coefficients @ self.waves).float(), dim=-1)
        total = p.cumsum(-1)
        u = uniform.unsqueeze(-1) * total[:, -1:]
        k = torch.searchsorted(total, u).clamp(max=self.points - 1)
        upper, width = total.gather(1, k), p.gather(1, k)
        inside = ((u - (upper - width)) / width.clamp_min(1e-12)).clamp(0, 1)
        return ((k + inside) / self.points * self.turn - self.turn / 2).squeeze(-1)


class TorsionStep(CircularDensity):
    """p(θ(t + τ) | latent(t), types, τ) of a whole chain, residue after residue and torsion after torsion, each with
    density

        p(θ) ∝ exp Σ_m (a_m cos mθ + b_m sin mθ),  m ≤ 20

    (generalised von Mises) and coefficients from a network that sees the latent and types of all residues, the lag and
    the torsions drawn before; the normalisation is a sum over a grid. At lag 0 the step decodes, at lag ∞ it draws from
    equilibrium without the latent; other lags are between `lags`, in ps. `depths` are those of the trunk that sees the
    latent and of the one that sees drawn torsions. The second of `dropouts` is the probability in training that the
    trunk is not told the type of a residue, so that it does not learn whole sequences by heart.
    """

    def __init__(
        self, sizes: tuple[int, ...], axes: int, slots: int, *, width: int, depths: tuple[int, int], heads: int,
        lags: Lags, dropouts: tuple[float, float] = (0.0, 0.0),
    ) -> None:  # fmt: skip
        super().__init__(_ORDER)
        (depth, causal_depth), (dropout, type_dropout) = depths, dropouts
        self.axes, self.slots = axes, slots
        self.shortest, self.span = math.log(lags[0]), (math.log(lags[1]) - math.log(lags[0])) / 2
        self.type_dropout = type_dropout
        features = 2 * HARMONICS + 1
        self.embed = TypeEmbedding(sizes, width)
        self.read = nn.Linear(axes, width)
        self.lag = nn.Sequential(nn.Linear(7, _CONDITION), nn.SiLU(), nn.Linear(_CONDITION, _CONDITION), nn.SiLU())
        self.trunk = ChainTransformer(width, _CONDITION, depth, heads, dropout=dropout)
        self.previous = nn.Linear(slots * features, width)
        self.causal = ChainTransformer(width, _CONDITION, causal_depth, heads, causal=True, dropout=dropout)
        self.earlier = nn.Parameter(torch.randn(slots, features, width) / (features * slots) ** 0.5)
        self.slot_embed = nn.Embedding(sizes[0] * slots, width)
        self.head = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.SiLU(), nn.Linear(2 * width, width), nn.SiLU()
        )
        self.density = nn.Linear(width, 2 * _ORDER)
        nn.init.zeros_(self.density.weight)
        nn.init.zeros_(self.density.bias)

    def condition(self, lag: Tensor) -> Tensor:
        """Features of lags [batch] in ps, with 0 for now and ∞ for ever."""
        now, ever = (lag <= 0).to(torch.float32), torch.isinf(lag).to(torch.float32)
        between = (1 - now) * (1 - ever)
        safe = torch.where(between > 0, lag, torch.full_like(lag, math.exp(self.shortest)))
        u = between * (torch.log(safe) - self.shortest - self.span) / self.span
        phase = self.turn / 4 * u
        features = [u, between * phase.sin(), between * phase.cos(), (2 * phase).sin(), now, ever, between]
        out: Tensor = self.lag(torch.stack(features, dim=-1))
        return out

    def context(self, latent: Tensor, types: Tensor, lag: Tensor) -> tuple[Tensor, Tensor]:
        """What every torsion is conditioned on: tokens [batch, tokens, width], and the embedded lag."""
        g = self.condition(lag)
        keep = (~torch.isinf(lag)).to(latent.dtype).reshape(-1, 1, 1)
        known = self.embed(types)
        if self.training and self.type_dropout > 0:
            hidden = torch.rand(latent.shape[:2], device=latent.device) < self.type_dropout
            known = known.masked_fill(hidden.unsqueeze(-1), 0.0)
        return self.trunk(self.read(latent * keep) + known, g), g

    def residue(self, h: Tensor, features: Tensor, types: Tensor) -> Tensor:
        """Coefficients [batch, tokens, slots, 2 · order] of densities, each given h and the torsions before it."""
        parts = torch.einsum("btsf,sfw->btsw", features, self.earlier)
        before = parts.cumsum(2) - parts
        place = types[..., :1] * self.slots + torch.arange(self.slots, device=h.device)
        x = h.unsqueeze(2) + before + self.slot_embed(place)
        out: Tensor = self.density(self.head(x))
        return out

    def known(self, context: Tensor, features: Tensor, g: Tensor) -> Tensor:
        """What each residue knows: the context and the torsions of earlier residues."""
        shifted = torch.cat([torch.zeros_like(features[:, :1]), features[:, :-1]], dim=1).flatten(2)
        out: Tensor = self.causal(context + self.previous(shifted), g)
        return out

    def log_likelihood(self, latent: Tensor, types: Tensor, mask: Tensor, lag: Tensor, angles: Tensor) -> Tensor:
        """ln p in nats per radian, [batch, tokens, slots], of torsions at t + lag given the latent; 0 where none."""
        context, g = self.context(latent, types, lag)
        features = torsion_features(angles, mask)
        coefficients = self.residue(self.known(context, features, g), features, types)
        return self.log_density(coefficients, angles) * mask

    @torch.jit.export
    def sample(
        self, latent: Tensor, types: Tensor, mask: Tensor, lag: Tensor, uniform: Tensor, most_likely: bool = False
    ) -> Tensor:
        """Draw all torsions, [batch, tokens, slots] radians, from uniform numbers, or where each is most likely."""
        nothing = torch.zeros(mask[:1].shape, dtype=torch.bool, device=mask.device)
        angles, _ = self.complete(
            latent, types, mask, lag, uniform, angles=uniform, known=nothing, most_likely=most_likely
        )
        return angles

    @torch.jit.export
    def complete(
        self, latent: Tensor, types: Tensor, mask: Tensor, lag: Tensor, uniform: Tensor, angles: Tensor, known: Tensor,
        most_likely: bool = False,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        """Draw the torsions that are not known ([1, tokens, slots]); beside all: ln p of the known ones [batch]."""
        batch, tokens = uniform.shape[0], latent.shape[1]
        context, g = self.context(latent, types, lag)
        copies = batch // context.shape[0]  # of every latent, one after another: the trunk is run once for them
        context, g = context.repeat(copies, 1, 1), g.repeat(copies, 1)
        types, mask = types.repeat(copies, 1, 1), mask.repeat(copies, 1, 1)
        out = torch.zeros(batch, tokens, self.slots, dtype=latent.dtype, device=latent.device)
        weight = torch.zeros(batch, dtype=latent.dtype, device=latent.device)
        shifted = torch.zeros(batch, 1, self.previous.in_features, dtype=latent.dtype, device=latent.device)
        earlier: list[Tensor] = []
        for _ in self.causal.blocks:
            earlier.append(self.causal.nothing(context))
        for t in range(tokens):
            token, earlier = self.causal.extend(context[:, t : t + 1] + self.previous(shifted), g, earlier)
            h = token[:, 0]
            for s in range(self.slots):
                if not bool(mask[:, t, s].any()):
                    continue
                coefficients = self.density(self.head(h + self.slot_embed(types[:, t, 0] * self.slots + s)))
                if bool(known[0, t, s]):
                    out[:, t, s] = angles[:, t, s]
                    weight = weight + self.log_density(coefficients, angles[:, t, s])
                elif most_likely:
                    out[:, t, s] = self.grid[(coefficients @ self.waves).argmax(-1)]
                else:
                    out[:, t, s] = self.draw(coefficients, uniform[:, t, s])
                own = torsion_features(out[:, t : t + 1], mask[:, t : t + 1])
                h = h + own[:, 0, s] @ self.earlier[s]
            shifted = torsion_features(out[:, t : t + 1], mask[:, t : t + 1]).flatten(2)
        return out, weight
