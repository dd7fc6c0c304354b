"""Verification decoders on a frozen encoder: what a latent holds is what can be read from it."""

from torch import Tensor, nn

from latentmd.core.layers import Standardised, mlp

_CHANNELS = (64, 64, 32, 16)  # before each of four upsamplings


class StateDecoder(Standardised):
    """Tokens [batch, tokens, dim] → a state of any shape [batch, *shape], by one perceptron on all tokens."""

    noise_size: int = 0

    def __init__(self, tokens: int, dim: int, mean: Tensor, scale: Tensor, width: int = 128, depth: int = 2) -> None:
        super().__init__(mean, scale)
        self.network = mlp([tokens * dim, *depth * [width], mean.numel()])

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        """State [batch, *shape]; the noise is not used."""
        out: Tensor = self.network(z.flatten(1)).reshape([z.shape[0]] + list(self.mean.shape))  # noqa: RUF005 (scripts)
        return self.mean + self.scale * out


class TokenDecoder(Standardised):
    """Tokens [batch, tokens, dim] → states [batch, tokens, values], linear: averages of forecasts come out right."""

    noise_size: int = 0

    def __init__(self, dim: int, mean: Tensor, scale: Tensor) -> None:
        super().__init__(mean, scale)
        self.read = nn.Linear(dim, mean.numel())

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        """Values [batch, tokens, values]; the noise is not used."""
        out: Tensor = self.mean + self.scale * self.read(z)
        return out


class PictureDecoder(nn.Module):
    """Tokens [batch, tokens, dim] → grey pictures [batch, size, size], a mean one and transposed convolutions."""

    noise_size: int = 0

    def __init__(self, tokens: int, dim: int, mean: Tensor, width: int = 256) -> None:
        super().__init__()
        self.mean = nn.Buffer(mean.clone())
        self.small = mean.shape[-1] // 16
        self.read = mlp([tokens * dim, width, _CHANNELS[0] * self.small**2])
        layers: list[nn.Module] = []
        for inside, out in zip(_CHANNELS, (*_CHANNELS[1:], 1), strict=True):
            layers += [nn.SiLU(), nn.ConvTranspose2d(inside, out, 4, stride=2, padding=1)]
        self.convolutions = nn.Sequential(*layers)

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        """Pictures [batch, size, size]; the noise is not used."""
        seed = self.read(z.flatten(1)).reshape(z.shape[0], -1, self.small, self.small)
        out: Tensor = self.mean + self.convolutions(seed).squeeze(1)
        return out
