"""The fixed linear change of basis between the JEPA latent and everything after it: slow axes and fast axes."""

from torch import Tensor, nn


class Basis(nn.Module):
    """Mean and matrix of a change of basis whose first `n_slow` axes are slow.

    Args:
        mean: [..., axes in].
        matrix: [..., axes in, axes out].
        n_slow: number of leading axes that a predictor propagates.
    """

    mean: Tensor
    matrix: Tensor

    def __init__(self, mean: Tensor, matrix: Tensor, n_slow: int) -> None:
        super().__init__()
        self.register_buffer("mean", mean)
        self.register_buffer("matrix", matrix)
        self.n_slow = n_slow


class LatentBasis(Basis):
    """w = (z − mean) M of all tokens together: whitened latent axes in the order of their autocorrelation.

    Args:
        mean: [axes in].
        matrix: [axes in, axes out].
        n_slow: number of leading axes that a predictor propagates.
    """

    def __init__(self, mean: Tensor, matrix: Tensor, n_slow: int) -> None:
        super().__init__(mean, matrix, n_slow)
        self.n_fast = matrix.shape[1] - n_slow

    def forward(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [batch, tokens, dim] → slow [batch, 1, n_slow] and fast [batch, 1, n_fast] axes."""
        w = ((z.flatten(1) - self.mean) @ self.matrix).unsqueeze(1)
        return w[..., : self.n_slow], w[..., self.n_slow :]
