"""Tests for parts of your own: contract checks of encoders, predictors and decoders.

The checks raise AssertionError with what was found. They hold for every part in this package; run them on yours:

    from latentmd.testing import check_predictor
    check_predictor(MyPredictor(dim=4), torch.randn(8, 1, 4), lag=torch.full((8,), 10.0))
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from latentmd.model.file import script


def check_encoder(encoder: nn.Module, observation: Tensor, *, tolerance: float = 1e-5) -> Tensor:
    """Tokens [batch, tokens, dim] that depend on nothing but the observation [batch, ...]; returns them.

    Checks shape, type and finiteness; that a frame's tokens do not depend on its batch; that the same call gives the
    same answer and leaves the observation as it was; and that scripted = eager.

    Args:
        encoder: the module.
        observation: shape [batch, ...].
        tolerance: largest absolute difference.
    """
    batch = observation.shape[0]
    before = observation.clone()
    z = _frozen(encoder, observation)
    assert z.dim() == 3 and z.shape[0] == batch, (
        f"found tokens of shape {tuple(z.shape)}, expected [{batch}, tokens, dim]"
    )
    _check_values(z, observation.dtype)
    _close(observation, before, 0.0, "the observation was changed")
    _close(_frozen(encoder, observation), z, 0.0, "the same call gave another answer")
    _check_rows(lambda rows: _frozen(encoder, observation[rows]), z, tolerance)
    _close(_frozen(script(encoder), observation), z, tolerance, "scripted and eager tokens differ")
    return z


def check_invariance(encoder: nn.Module, positions: Tensor, *, tolerance: float = 1e-5, seed: int = 0) -> None:
    """Rotating and moving positions [batch, atoms, 3] nm leaves the tokens alone; a mirror image changes them.

    Args:
        encoder: of positions.
        positions: shape [batch, atoms, 3], nm.
        tolerance: largest difference, relative to the largest token.
        seed: of the rotation.
    """
    generator = torch.Generator().manual_seed(seed)
    z = _frozen(encoder, positions)
    scale = max(1.0, float(z.abs().max()))
    rotated = positions @ random_rotation(generator).to(positions) + torch.randn(3, generator=generator).to(positions)
    _close(_frozen(encoder, rotated), z, tolerance * scale, "a rotation and a translation changed the tokens")
    mirrored = positions * torch.tensor([-1.0, 1.0, 1.0]).to(positions)
    change = float((_frozen(encoder, mirrored) - z).abs().amax(dim=(1, 2)).min())
    assert change > 10 * tolerance, f"a mirror image changed the tokens by {change:.1e} only; they must tell chirality"


def check_relabelling(encoder: nn.Module, positions: Tensor, order: Sequence[int], *, tolerance: float = 1e-5) -> None:
    """Exchanging equivalent atoms, positions[:, order], leaves the tokens alone.

    Args:
        encoder: of positions.
        positions: shape [batch, atoms, 3], nm.
        order: a permutation of equivalent atoms.
        tolerance: largest difference, relative to the largest token.
    """
    z = _frozen(encoder, positions)
    limit = tolerance * max(1.0, float(z.abs().max()))
    _close(_frozen(encoder, positions[:, list(order)]), z, limit, "exchanging equivalent atoms changed the tokens")


def check_predictor(predictor: nn.Module, z: Tensor, lag: Tensor, *, tolerance: float = 1e-5, seed: int = 0) -> Tensor:
    """`step(z, lag, noise)` is a function of its arguments, row by row, in the shape of z; returns one draw.

    Checks shape, type and finiteness; that the noise decides everything (no hidden draw, another noise another
    answer, unless `noise_size` is 0); that a row does not depend on its batch; scripted = eager.

    Args:
        predictor: the module, with `noise_size`.
        z: tokens [batch, tokens, dim].
        lag: [batch], in the predictor's range and not all at its shortest.
        tolerance: largest absolute difference.
        seed: of the noise.
    """
    size = int(predictor.noise_size)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(z.shape[0], size, generator=generator).to(z)
    step: Any = predictor.step
    out = _frozen(step, z, lag, noise)
    assert out.shape == z.shape, f"found a step of shape {tuple(out.shape)}, expected {tuple(z.shape)} as z"
    _check_values(out, z.dtype)
    _check_no_hidden_draw(step, out, z, lag, noise)
    if size:
        other = _frozen(step, z, lag, torch.randn(noise.shape, generator=generator).to(z))
        assert not torch.equal(out, other), "another noise gave the same step; the noise must decide the draw"
    _check_rows(lambda rows: _frozen(step, z[rows], lag[rows], noise[rows]), out, tolerance)
    _close(_frozen(script(predictor).step, z, lag, noise), out, tolerance, "scripted and eager steps differ")
    return out


def check_decoder(decoder: nn.Module, axes: Tensor, n_atoms: int, *, tolerance: float = 1e-5, seed: int = 0) -> Tensor:
    """`decoder(axes, noise)` gives centred structures [batch, n_atoms, 3] nm, from its arguments alone; returns them.

    Checks as `check_predictor` does, with `noise_size` of the decoder.

    Args:
        decoder: the module, with `noise_size`.
        axes: latent axes [batch, axes].
        n_atoms: number of atoms expected.
        tolerance: largest absolute difference.
        seed: of the noise.
    """
    noise = torch.randn(axes.shape[0], int(decoder.noise_size), generator=torch.Generator().manual_seed(seed)).to(axes)  # type: ignore[arg-type]
    x = _frozen(decoder, axes, noise)
    expected = (axes.shape[0], n_atoms, 3)
    assert x.shape == expected, f"found positions of shape {tuple(x.shape)}, expected {expected}"
    _check_values(x, axes.dtype)
    _close(x.mean(dim=1), torch.zeros_like(x[:, 0]), tolerance, "the structures are not centred")
    _check_no_hidden_draw(decoder, x, axes, noise)
    _check_rows(lambda rows: _frozen(decoder, axes[rows], noise[rows]), x, tolerance)
    _close(_frozen(script(decoder), axes, noise), x, tolerance, "scripted and eager structures differ")
    return x


def random_rotation(generator: torch.Generator) -> Tensor:
    """A proper rotation matrix [3, 3], uniform over SO(3) (QR of a normal matrix; Stewart 1980)."""
    q = nn.init.orthogonal_(torch.empty(3, 3, dtype=torch.float64), generator=generator)
    rotation: Tensor = q * torch.linalg.det(q)
    return rotation


def _frozen(function: Any, *arguments: Tensor) -> Tensor:
    with torch.no_grad():
        out: Tensor = function(*arguments)
    return out


def _close(found: Tensor, expected: Tensor, tolerance: float, message: str) -> None:
    torch.testing.assert_close(found, expected, rtol=0.0, atol=tolerance, msg=lambda detail: f"{message}: {detail}")


def _check_values(out: Tensor, dtype: torch.dtype) -> None:
    assert out.dtype == dtype, f"found values of type {out.dtype}, expected {dtype} as the input"
    assert bool(torch.isfinite(out).all()), "found values that are not finite"


def _check_rows(of_rows: Callable[[slice], Tensor], whole: Tensor, tolerance: float) -> None:
    rows = torch.cat([of_rows(slice(i, i + 1)) for i in range(whole.shape[0])])
    _close(rows, whole, tolerance, "one row alone and in a batch differ")


def _check_no_hidden_draw(function: Any, out: Tensor, *arguments: Tensor) -> None:
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    again = _frozen(function, *arguments)
    drawn = torch.random.get_rng_state()
    torch.manual_seed(1)
    untouched = torch.equal(drawn, torch.random.get_rng_state())
    torch.random.set_rng_state(state)
    assert untouched, "torch's global random state was used; all randomness must come from the noise"
    _close(again, out, 0.0, "the same noise gave another answer")
