"""The tilt of a model that is bound to one peptide, from its own draws and rollouts: against drift, without MD."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor

from latentmd.core.steps.angles import EVER
from latentmd.core.steps.tilt import Tilt
from latentmd.model.bound_peptide import BoundPeptide

_ROUNDS = 2
_LAG = 100.0  # ps, of the rollouts that are learnt from
_WALKERS, _STEPS, _USED = 800, 6, (4, 6)  # of the rollouts of a round, each from a draw; steps whose frames are used
_UPDATES, _ROWS, _RATE, _DECAY = 300, 256, 2e-3, 0.1  # of the optimiser


def fit_tilt(bound: BoundPeptide, seed: int = 0) -> None:
    """Tilt the steps of a model bound to one peptide, so that rollouts keep the equilibrium of its draws.

    In rounds: rollouts by the tilt so far, then a network that tells them from draws; its logit is what the tilt lacks.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tilt = Tilt(bound.mask[0])
    for _ in range(_ROUNDS):
        frames, earlier = own_frames(bound, _WALKERS, generator), deepcopy(tilt)
        learn(tilt, earlier, frames, generator)
        bound.take(tilt)
    tilt.requires_grad_(False)


@torch.no_grad()
def own_frames(bound: BoundPeptide, walkers: int, generator: torch.Generator) -> Tensor:
    """Draws from lag ∞, then frames of rollouts that begin there: [1 + frames, walkers, tokens, slots] radians."""
    nothing, lag = torch.zeros(walkers, bound.n_tokens, bound.n_slow), torch.full((walkers,), _LAG)
    noise = torch.randn(walkers, bound.torsion_noise, generator=generator)
    frames = [bound.draw(nothing, torch.full_like(lag, EVER), noise)]
    for _ in range(_STEPS):
        noise = torch.randn(walkers, bound.move_noise, generator=generator)
        frames.append(bound.move(bound.latent(frames[-1]), lag, noise))
    return torch.stack([frames[k] for k in (0, *_USED)])


def learn(tilt: Tilt, earlier: Tilt, frames: Tensor, generator: torch.Generator) -> None:
    """Maximise, in place, the likelihood of which torsions of `own_frames` are draws and which come from rollouts under
    an earlier tilt: the ln of the ratio of both densities is what the tilt adds to it (noise-contrastive estimation).

    Beside each draw stands a frame of the rollout that began there, so that what slow motions share is no noise.
    """
    optimiser = torch.optim.AdamW(tilt.parameters(), lr=_RATE, weight_decay=_DECAY)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, _RATE, total_steps=_UPDATES, pct_start=0.1)
    for _ in range(_UPDATES):
        walker = torch.randint(frames.shape[1], (_ROWS,), generator=generator)
        time = torch.randint(1, len(frames), (_ROWS,), generator=generator)
        parts = frames[0, walker], frames[time, walker]
        draws, rolled = (tilt(angles) - earlier(angles).detach() for angles in parts)
        loss = -torch.nn.functional.logsigmoid(torch.cat([draws, -rolled])).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
