"""Random masks for the training of a masked trajectory model: one kind for each task, mixed."""

from __future__ import annotations

import torch
from torch import Tensor

_STRIDES = (2, 4, 5, 8, 10, 16, 20)  # of known frames


def random_masks(batch: int, frames: int, tokens: int, generator: torch.Generator) -> Tensor:
    """What counts as known in each trajectory, [batch, frames, tokens]; never nothing and never everything.

    In equal shares: the first one to four frames (forward simulation), the first and the last (paths), every s-th
    (upsampling), frames at random and, with several tokens, some tokens in all frames (inpainting).

    Args:
        batch, frames, tokens: shape; at least 2 frames.
        generator: of the masks.
    """
    masks = torch.zeros(batch, frames, tokens, dtype=torch.bool)
    kinds = torch.randint(5 if tokens > 1 else 4, (batch,), generator=generator)
    for row, kind in zip(masks, kinds.tolist(), strict=True):
        if kind == 0:
            row[: int(torch.randint(1, min(5, frames), (1,), generator=generator))] = True
        elif kind == 1:
            row[0] = row[-1] = True
        elif kind == 2:
            stride = _STRIDES[int(torch.randint(len(_STRIDES), (1,), generator=generator))]
            row[::stride] = True
        elif kind == 3:
            share = torch.rand(1, generator=generator)
            row[torch.rand(frames, generator=generator) < share] = True
        else:
            hidden = torch.rand(tokens, generator=generator) < torch.rand(1, generator=generator)
            row[:, ~hidden] = True
    empty, full = ~masks.flatten(1).any(dim=1), masks.flatten(1).all(dim=1)
    masks[empty, 0] = True
    masks[full, -1] = False
    return masks
